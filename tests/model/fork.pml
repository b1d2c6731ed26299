/* The fork guard: a thread emits and declares, another forks at any instant, the child forks again; a signal handler emits or declares in a child
 * at any instant, also before the fork handler has made the child's region; a child of a raw clone has no fork handler at all; the
 * parent's ring is frozen and thawed, and its recording ends. docs/region.md, "Life of the file" step 5 and "Why it holds" 10. Each process,
 * and the collector, may be killed at each step.
 *
 * Properties: a process stores into its own region alone, and touches no other's (neither packets nor counters of losses nor classes), whatever the
 * enable words say that it reads through the mapping it has inherited. Every event that got past the guard is in that region, whole, or counted lost
 * there, the parent's too. What a child takes over is whole: no class without its description, and no ring that somebody else froze. When a process
 * is dead, nobody holds its region's lock.
 *
 * Mutants: NO_WIPE lets a child inherit the guard as it is; NO_DONTFORK lets it inherit the mapping; ALL_INHERITED both; ONE_OPEN maps the read-only
 * part by the file that is locked; EARLY_GUARD sets the guard before the region is made; CHECK_LATE looks at it after the slot was taken; BLIND_DECLARE
 * declares wherever there is an address of a region; HEAP_FIRST takes the descriptions over before the classes; FROZEN_TOO takes the frozen ring
 * over. And FORK_INSIDE, which docs/reliability.md does not promise: a handler that interrupted an event forks, and in the child returns into it. */
#ifndef P
#define P 2       /* processes: the parent, its child, and with 3 the child's; each makes the region of its number */
#endif
#define SLOTS 2   /* 0: the other thread, in children the handler; 1: the thread that forks */
#define CAP 1     /* events that a slot has room for; the next is lost */
#define OTHER 0
#define MAIN 1
#ifndef KILLS
#define KILLS 1   /* the long form takes more */
#endif
#ifndef EVENTS
#define EVENTS 1  /* of the other thread; the long form takes more */
#endif
#ifndef SIGNALS
#define SIGNALS 1
#endif
#ifdef ALL_INHERITED
#define NO_WIPE
#define NO_DONTFORK
#endif

bool born[P], alive[P];
bool busy[P];           /* the process's thread stands in a handler */
bool guard[P];          /* the page that fork wipes */
byte map[P];            /* where the process believes its region: number + 1; 0: off */
bool mapped[P * P];     /* what the kernel says: process * P + region, read-write */
byte ro[P];             /* the region whose words the program reads */

bool ready[P];          /* of regions [READY] */
bool word[P];        /* [ENABLE] */
bool frozen[P];         /* [FREEZE] */
byte heap[P], classes[P]; /* descriptions, and classes that have one each [CLASS] */
byte data[P * SLOTS];   /* stands for an event's bytes: whose they are, + 1 */
byte head[P * SLOTS];   /* [HEAD] */
byte lost[P];
bool froze[P];          /* ghost: by its own collector */
byte begun[P];          /* ghost: events that got past the guard */

/* one step of a thread of process x, which stands still below its handler */
#define STEP(what) atomic { alive[x] && (handler || !busy[x]) -> what }
#define TOUCH(m) assert(m != 0 && mapped[x * P + m - 1] && m - 1 == x)
#define STORE(m) TOUCH(m); assert(ready[m - 1])

inline emit(s)
{
	STEP(on = word[ro[x]]); /* [ENABLE] */
	if
	:: !on -> skip
	:: else ->
#ifdef CHECK_LATE
		STEP(m = map[x]; STORE(m)); /* the slot is owned */
		STEP(on = guard[x]; if :: on -> begun[x]++ :: else fi);
#else
		STEP(on = guard[x]; m = map[x]; if :: on -> begun[x]++ :: else fi);
#endif
		if
		:: !on -> skip
		:: else ->
#ifdef FORK_INSIDE
			if
			:: x == 0 && s == MAIN && !born[1] -> atomic { kernel_fork(1); run resumed(1, m) }
			:: true
			fi;
#endif
			STEP(TOUCH(m); on = frozen[m - 1]; if :: on -> assert(froze[m - 1]) :: else -> on = head[(m - 1) * SLOTS + s] == CAP fi);
			if
			:: on -> STEP(STORE(m); lost[m - 1]++)
			:: else ->
				STEP(STORE(m); data[(m - 1) * SLOTS + s] = x + 1);
				STEP(STORE(m); head[(m - 1) * SLOTS + s]++) /* [HEAD] */
			fi
		fi
	fi;
	atomic { on = false; m = 0 } /* fewer states */
}

inline declare()
{
#ifdef BLIND_DECLARE
	STEP(m = map[x]; on = m != 0);
#else
	STEP(m = map[x]; on = guard[x]);
#endif
	if
	:: !on -> skip /* a class that stays off, or is declared later */
	:: else ->
		STEP(STORE(m); heap[m - 1]++);
		STEP(STORE(m); classes[m - 1]++) /* [CLASS] */
	fi;
	atomic { on = false; m = 0 }
}

/* What the kernel does. Mappings without DONTFORK would be in the child, the wiped page is all zero. */
inline kernel_fork(y)
{
	born[y] = true;
	alive[y] = true;
	map[y] = map[y - 1];
	ro[y] = ro[y - 1];
#ifdef NO_WIPE
	guard[y] = guard[y - 1];
#endif
#ifdef NO_DONTFORK
	for (i : 0 .. P - 1) { mapped[y * P + i] = mapped[(y - 1) * P + i] }
#endif
}

/* The fork handler. */
inline after_fork()
{
	if
	:: map[x] == 0 -> skip
	:: else ->
#ifdef EARLY_GUARD
		STEP(guard[x] = true);
#endif
		if
		:: STEP(map[x] = 0) /* no room: off, for good */
#ifdef HEAP_FIRST
		:: STEP(mapped[x * P + x] = true; heap[x] = heap[ro[x]]);
			STEP(classes[x] = classes[ro[x]]);
#else
		:: STEP(mapped[x * P + x] = true; classes[x] = classes[ro[x]]); /* [CLASS] */
			STEP(heap[x] = heap[ro[x]]);
#endif
#ifdef FROZEN_TOO
			STEP(frozen[x] = frozen[ro[x]]);
#endif
			STEP(assert(classes[x] <= heap[x]); word[x] = word[ro[x]]); /* [ENABLE] */
			STEP(ro[x] = x); /* in the place of the parent's */
			STEP(map[x] = x + 1; ready[x] = true); /* [READY] */
			STEP(guard[x] = true)
		fi
	fi
}

/* the parent's other thread */
proctype other()
{
	byte x = 0, m, n = 0;
	bool on, handler = false;

	do
	:: n < EVENTS -> n++; if :: emit(OTHER) :: declare() fi
	:: else -> break
	od
}

/* the thread that forks; in a child the only one */
proctype process(byte x; bool raw)
{
	byte m, i;
	bool on, handler = false;

	if
	:: x != 0 && !raw -> after_fork()
	:: else
	fi;
	emit(MAIN);
	if
	:: x + 1 < P ->
		if
		:: STEP(if :: !born[x + 1] -> kernel_fork(x + 1); run process(x + 1, false) :: else fi)
		:: STEP(if :: !born[x + 1] -> kernel_fork(x + 1); run process(x + 1, true) :: else fi)
		fi;
		if
		:: x == 0 -> emit(MAIN)
		:: else -> declare()
		fi
	:: else
	fi
}

#ifdef FORK_INSIDE
proctype resumed(byte x; byte m)
{
	byte i;
	bool on, handler = false;

	after_fork();
	STEP(STORE(m); data[(m - 1) * SLOTS + MAIN] = x + 1);
	STEP(STORE(m); head[(m - 1) * SLOTS + MAIN]++)
}
#endif

/* A signal handler in one of the children, at any instant of it. */
proctype signal()
{
	byte x, m;
	bool on, handler = true;

	if
	:: atomic { born[1] && !busy[1] -> x = 1; busy[1] = true }
#if P > 2
	:: atomic { born[2] && !busy[2] -> x = 2; busy[2] = true }
#endif
	fi;
	if
	:: emit(OTHER)
	:: declare()
	fi;
	STEP(busy[x] = false)
}

/* It may be killed, or stop, anywhere: a channel stays as it is then, until the next one. */
proctype collector()
{
	if
	:: atomic { frozen[0] = true; froze[0] = true } /* [FREEZE] by a writer that has found its condition */
	:: goto gone
	fi;
	if
	:: frozen[0] = false
	:: goto gone
	fi;
	word[0] = false; /* [ENABLE] */
gone:
	skip
}

proctype killer()
{
	byte n = 0, x;

	do
	:: n < KILLS -> atomic { select(x : 0 .. P - 1); if :: alive[x] -> alive[x] = false :: else fi; n++ }
	:: break
	od
}

active proctype judge()
{
	byte x, i, sum;

	timeout -> atomic {
		for (x : 0 .. P - 1) {
			sum = lost[x];
			for (i : 0 .. SLOTS - 1) {
				assert(head[x * SLOTS + i] <= CAP);
				assert(head[x * SLOTS + i] == 0 || data[x * SLOTS + i] == x + 1);
				sum = sum + head[x * SLOTS + i]
			}
			assert(sum == begun[x] || (!alive[x] && sum < begun[x]));
			for (i : 0 .. P - 1) {
				/* [LOCK] the mapping of whoever holds it */
				assert(!(born[x] && !alive[x] && alive[i] && mapped[i * P + x]));
#ifdef ONE_OPEN
				assert(!(born[x] && !alive[x] && alive[i] && ro[i] == x))
#endif
			}
		}
	}
}

init
{
	byte i;

	atomic {
		born[0] = true; alive[0] = true; guard[0] = true; map[0] = 1; mapped[0] = true; ready[0] = true; word[0] = true;
		run other(); run process(0, false); run collector(); run killer();
		for (i : 1 .. SIGNALS) { run signal() }
	}
}
