/* Packets change hands: two threads on two slots, a collector that drains and frees, discard mode; docs/region.md, "Opening a packet" and
 * "Reading". A sequence may be aborted at each of its steps (pre-emption, migration, a signal), and a thread may be killed at any.
 *
 * Property: an event is read exactly once if its head was stored, and no byte is ever written to a packet that somebody else
 * holds.
 *
 * Mutants: FREE_EARLY frees a packet that is still current; PREEMPTIONS=2,NO_ABORT lets a pre-empted sequence go on; HEAD_FIRST publishes before the
 * data; PREEMPTIONS=2,SWAP_UNCHECKED installs whatever is there by now. */
#define T 2       /* threads, and slots */
#define NP 3      /* packets */
#define CAP 1     /* events a packet */
#define EVENTS 2  /* of the first thread; the second has one less */
#define ROUNDS 1  /* of the collector, before its last */
#ifndef PREEMPTIONS
#define PREEMPTIONS 1 /* of all threads together; the long form takes more */
#endif
#define NONE 255

byte cid[T];            /* slot that the thread runs on; NONE: it does not run */
bool inseq[T], aborted[T], dead[T], done[T];
byte cur[T];            /* [SWAP] packet + 1, 0: none */
byte head[NP];          /* [HEAD] */
byte data[NP * CAP];
byte prev[NP], seq[NP], pslot[NP];
bool isfree[NP];        /* [FREE] */
byte holder[NP];        /* ghost: slot whose chain it is in, T + thread: in hand, NONE: free */
bool emitted[T * EVENTS];
byte readn[T * EVENTS];
byte drained[NP];       /* the collector's place in each packet */

#define RUNS(t) (cid[t] != NONE && !dead[t])
/* one step of a sequence of thread t */
#ifdef NO_ABORT
#define SEQ(t, what) atomic { RUNS(t) -> what }
#define ABORTS(t, label) skip
#else
#define SEQ(t, what) atomic { RUNS(t) -> if :: aborted[t] -> skip :: else -> what fi }
#define ABORTS(t, label) if :: aborted[t] -> inseq[t] = false; goto label :: else fi
#endif

proctype writer(byte t)
{
	byte n = 0, s, c, p, k, old;

	do
	:: n < EVENTS - t ->
again:
		atomic { RUNS(t) -> inseq[t] = true; aborted[t] = false; s = cid[t]; c = cur[s] }
		if
		:: c == 0 || head[c - 1] == CAP ->
			inseq[t] = false;
			goto refill
		:: else
		fi;
		ABORTS(t, again);
#ifdef HEAD_FIRST
		SEQ(t, head[c - 1] = head[c - 1] + 1);
		ABORTS(t, again);
		SEQ(t, data[(c - 1) * CAP + head[c - 1] - 1] = t * EVENTS + n + 1; emitted[t * EVENTS + n] = true; inseq[t] = false);
#else
		SEQ(t, assert(holder[c - 1] == s); data[(c - 1) * CAP + head[c - 1]] = t * EVENTS + n + 1);
		ABORTS(t, again);
		/* [HEAD] the event exists from here on */
		SEQ(t, assert(holder[c - 1] == s); head[c - 1] = head[c - 1] + 1; emitted[t * EVENTS + n] = true; inseq[t] = false);
#endif
		ABORTS(t, again);
		n++;
		goto next;
refill:
		atomic { RUNS(t) -> s = cid[t]; old = cur[s] }
		if
		:: old != 0 && head[old - 1] < CAP -> goto again
		:: else
		fi;
		/* take [FREE] */
		atomic {
			RUNS(t) -> p = NONE;
			for (k : 0 .. NP - 1) {
				if
				:: isfree[k] && p == NONE -> p = k; isfree[k] = false; assert(holder[k] == NONE); holder[k] = T + t
				:: else
				fi
			}
		}
		if
		:: p == NONE -> n++; goto next /* lost, and counted */
		:: else
		fi;
		/* open, outside of any sequence */
		atomic { RUNS(t) -> assert(holder[p] == T + t); head[p] = 0; pslot[p] = s; seq[p] = 0 }
		/* swap */
swap:
		atomic { RUNS(t) -> inseq[t] = true; aborted[t] = false }
		if
#ifndef SWAP_UNCHECKED
		:: cid[t] != s || cur[s] != old ->
			inseq[t] = false;
			/* 5: it goes back [FREE] */
			atomic { RUNS(t) -> holder[p] = NONE; isfree[p] = true }
			goto again
#endif
		:: else
		fi;
		ABORTS(t, swap);
		SEQ(t, prev[p] = old; if :: old -> seq[p] = seq[old - 1] + 1 :: else -> seq[p] = 1 fi);
		ABORTS(t, swap);
		SEQ(t, cur[s] = p + 1; holder[p] = s; inseq[t] = false); /* [SWAP] */
		ABORTS(t, swap);
		goto again;
next:
		skip
	:: else -> break
	od;
	done[t] = true
}

proctype scheduler()
{
	byte t, k, kills = 0, cuts = 0;

	do
	:: (done[0] || dead[0]) && (done[1] || dead[1]) -> break
	:: atomic { /* pre-empted, or a signal */
		select(t : 0 .. T - 1);
		cuts < PREEMPTIONS && cid[t] != NONE && !dead[t] -> cuts++; cid[t] = NONE; aborted[t] = aborted[t] || inseq[t] }
	:: atomic { /* runs again, on any slot that is free */
		select(t : 0 .. T - 1); select(k : 0 .. T - 1);
		cid[t] == NONE && !dead[t] && cid[0] != k && cid[1] != k -> cid[t] = k }
	:: atomic { kills == 0 && !done[0] && !dead[0] -> dead[0] = true; kills = 1; cid[0] = NONE }
	od
}

byte chain[NP];
inline drain(s)
{
	/* from cur over prev while it is this slot's and seq falls by one, then forward */
	n = 0;
	c = cur[s]; /* [SWAP] acquire */
	do
	:: c != 0 && n < NP && pslot[c - 1] == s && (n == 0 || seq[c - 1] + 1 == seq[chain[n - 1]]) ->
		chain[n] = c - 1; n++; c = prev[c - 1]
	:: else -> break
	od;
	last = true; /* the current packet stays */
	i = 0;
	do
	:: i < n ->
		h = head[chain[i]]; /* [HEAD] acquire */
		atomic { do
		:: drained[chain[i]] < h ->
			e = data[chain[i] * CAP + drained[chain[i]]];
			assert(e != 0);
			readn[e - 1]++;
			assert(readn[e - 1] == 1);
			drained[chain[i]]++
		:: else -> break
		od }
		/* Drained to its head, and its writer has moved on: whoever was inside has been aborted. cur was read before head. */
#ifdef FREE_EARLY
		if
		:: drained[chain[i]] == CAP || i > 0 ->
#else
		if
		:: i > 0 ->
#endif
			atomic { drained[chain[i]] = 0; seq[chain[i]] = 0; pslot[chain[i]] = NONE; holder[chain[i]] = NONE; isfree[chain[i]] = true } /* [FREE] */
		:: else
		fi;
		i++
	:: else -> break
	od
}

proctype collector()
{
	byte s, c, n, h, i, e, rounds = 0;
	bool last;

	do
	:: rounds < ROUNDS -> rounds++; s = 0; drain(s); s = 1; drain(s)
	:: (done[0] || dead[0]) && (done[1] || dead[1]) -> break
	od;
	s = 0; drain(s); s = 1; drain(s);
	atomic {
		for (i : 0 .. T * EVENTS - 1) {
			assert(!emitted[i] || readn[i] == 1);
			assert(emitted[i] || readn[i] == 0)
		}
	}
}

init
{
	byte i;

	atomic {
		for (i : 0 .. NP - 1) { isfree[i] = true; holder[i] = NONE; pslot[i] = NONE }
		cid[0] = 0; cid[1] = 1;
		run writer(0); run writer(1); run scheduler(); run collector()
	}
}
