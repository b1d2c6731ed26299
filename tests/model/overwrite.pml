/* Overwrite mode: two threads share one slot and pop its oldest packets, a reader copies at any time; docs/region.md, "Opening a packet" step 1
 * and "Reading". A sequence may be aborted at each step, a thread may be stopped for ever at each.
 *
 * Property: what the reader accepts is one packet's content from one use of it, and no event vanishes but by being the oldest:
 * the current packet's `first` plus its count is the number of events emitted.
 *
 * The refill is no sequence and runs wherever its thread does, also while the other is on the slot: a thread that pops from a slot which is not
 * its own is the same.
 *
 * Two searches: two threads and their count, and with READER one thread and a reader.
 *
 * Mutants: PREEMPTIONS=4,STALE_CUR compares the tail with a `cur` read before it; READER,LAP_ONCE reads the lap only before the
 * copy. */
#define NP 3
#define CAP 1
#define EVENTS 3
#define NONE 255
#ifndef PREEMPTIONS
#define PREEMPTIONS 2 /* the long form, and the mutant that needs them, take 4 */
#endif

byte runs = NONE;       /* the thread that is on the slot */
bool inseq[2], aborted[2], done[2];
byte cur = 1;           /* [SWAP] */
byte tail = 0, tailseq; /* [TAIL] packet + 1 */
byte nfree = NP - 1;    /* packets 1.. are free at first */
byte head[NP], first[NP], seq[NP], next[NP], lap[NP]; /* [HEAD], [LAP] */
byte use[NP];           /* ghost: how often it was installed */
byte val[NP];           /* stands for its bytes: the use that wrote them */
byte emitted;           /* ghost */
bool out[2];            /* pre-empted off the slot, but may go on outside of sequences */

#define ON(t) (runs == t)
#define SEQ(t, what) atomic { (ON(t) || aborted[t]) -> if :: aborted[t] -> skip :: else -> what fi }
#define ABORTS(t, label) if :: aborted[t] -> inseq[t] = false; goto label :: else fi

proctype writer(byte t)
{
	byte n = 0, c, p, old, tl, ts, nx;

	do
	:: n < EVENTS ->
again:
		atomic { ON(t) -> inseq[t] = true; aborted[t] = false; c = cur - 1 }
		if
		:: head[c] >= CAP -> inseq[t] = false; goto refill
		:: else
		fi;
		ABORTS(t, again);
		SEQ(t, val[c] = use[c]);
		ABORTS(t, again);
		SEQ(t, head[c] = head[c] + 1; emitted++; inseq[t] = false); /* [HEAD] */
		ABORTS(t, again);
		n++;
		goto next_event;
refill:
		/* not in a sequence: goes on wherever the thread runs, also while the other is on the slot */
		old = cur; /* [SWAP] acquire */
		if
		:: head[old - 1] < CAP -> goto again
		:: else
		fi;
		if
		:: atomic { nfree > 0 -> p = NP - nfree; nfree-- }
		:: else ->
			atomic { tl = tail; ts = tailseq } /* [TAIL] one word */
			if
			:: tl == 0 -> n++; goto next_event
			:: else
			fi;
			if
#ifdef STALE_CUR
			:: tl == old -> n++; goto next_event
#else
			:: tl == cur -> n++; goto next_event /* [SWAP] */
#endif
			:: else
			fi;
			nx = next[tl - 1];
			if
			:: nx == 0 -> n++; goto next_event
			:: else
			fi;
			if
			:: atomic { tail == tl && tailseq == ts -> tail = nx; tailseq = ts + 1; p = tl - 1 }
			:: else -> goto again
			fi
		fi;
		lap[p] = lap[p] + 1; /* [LAP] odd */
		head[p] = 0;
		atomic { seq[p] = 0; next[p] = 0 }
		use[p] = use[p] + 1;
		lap[p] = lap[p] + 1; /* [LAP] even */
swap:
		atomic { ON(t) -> inseq[t] = true; aborted[t] = false }
		if
		:: cur != old -> inseq[t] = false; goto leak /* 5: given back; here simply not used again */
		:: else
		fi;
		ABORTS(t, swap);
		SEQ(t, first[p] = first[old - 1] + head[old - 1]; seq[p] = seq[old - 1] + 1);
		ABORTS(t, swap);
		SEQ(t, next[old - 1] = p + 1);
		ABORTS(t, swap);
		SEQ(t, if :: tail == 0 -> tail = old; tailseq = seq[old - 1] :: else fi);
		ABORTS(t, swap);
		SEQ(t, cur = p + 1; inseq[t] = false); /* [SWAP] */
		ABORTS(t, swap);
leak:
		goto again;
next_event:
		skip
	:: else -> break
	od;
	done[t] = true;
	atomic { if :: runs == t -> runs = NONE :: else fi }
}

proctype scheduler()
{
	byte cuts = 0;

	do
	:: atomic { runs != NONE && cuts < PREEMPTIONS -> cuts++; if :: inseq[runs] -> aborted[runs] = true :: else fi; runs = NONE }
	:: atomic { runs == NONE && !done[0] -> runs = 0 }
	:: atomic { runs == NONE && !done[1] -> runs = 1 }
	:: done[0] && done[1] -> break
	od
}

proctype reader()
{
	byte p, l, h, v, u, rounds = 0;

	do
	:: rounds < 2 ->
		rounds++;
		select(p : 0 .. NP - 1);
		atomic { l = lap[p]; u = use[p] } /* [LAP] acquire; u is a ghost */
		if
		:: l % 2 == 1 -> skip
		:: else ->
			h = head[p]; /* [HEAD] acquire */
			v = val[p];
			if
#ifndef LAP_ONCE
			:: lap[p] != l -> skip /* [LAP] again */
#endif
			:: else -> assert(h == 0 || v == u)
			fi
		fi
	:: else -> break
	od
}

proctype judge()
{
	done[0] && done[1] -> atomic { assert(first[cur - 1] + head[cur - 1] == emitted) }
}

init
{
	atomic { seq[0] = 1; use[0] = 1; val[0] = 0; 
#ifdef READER
		done[1] = true; run reader();
#else
		run writer(1);
#endif
		run writer(0); run scheduler(); run judge() }
}
