/* Slots that are owned for the time of one event (the writer without sequences): two threads, each interrupted by a signal handler that
 * emits too, anywhere; docs/region.md, "Emitting".
 *
 * Property: nobody stores into a slot's packet while somebody else is in it, nobody waits, and every event is there or counted lost.
 *
 * Mutants: NOT_RELEASED leaves the slot owned; NO_OWNER takes the slot without asking; BY_THREAD lets a handler in because the slot is its
 * thread's. */
#define SLOTS 2

byte owner[SLOTS];      /* [OWNER] */
byte inside[SLOTS];     /* ghost */
byte head[SLOTS];       /* [HEAD] */
byte stored[SLOTS];
byte emitted, lost;
bool busy[2];           /* the thread stands in its handler */
byte done;

proctype emitter(byte t; bool handler)
{
	byte s = 0, n = 0, h, events = 2;
	bool mine;

	if :: handler -> events = 1 :: else fi;
	do
	:: n < events ->
		if
		:: handler -> busy[t] = true /* from now on the thread itself stands still */
		:: else -> !busy[t]
		fi;
		s = 0;
		mine = false;
		do
		:: s < SLOTS && !mine ->
			atomic {
				(handler || !busy[t]) ->
				if
#ifdef NO_OWNER
				:: true -> owner[s] = t + 1; mine = true
#else
				:: owner[s] == 0 -> owner[s] = t + 1; mine = true
#ifdef BY_THREAD
				:: owner[s] == t + 1 -> mine = true
#endif
				:: else -> s++
#endif
				fi
			}
		:: else -> break
		od;
		if
		:: !mine -> lost++
		:: else ->
			atomic { (handler || !busy[t]) -> inside[s]++; assert(inside[s] == 1); h = head[s] }
			atomic { (handler || !busy[t]) -> stored[s] = h + 1 }
			atomic { (handler || !busy[t]) -> assert(stored[s] == h + 1); head[s] = h + 1; emitted++; inside[s]-- } /* [HEAD] */
#ifndef NOT_RELEASED
			atomic { (handler || !busy[t]) -> owner[s] = 0 } /* [OWNER] */
#endif
		fi;
		n++;
		if :: handler -> busy[t] = false :: else fi
	:: else -> break
	od;
	done++
}

active proctype judge()
{
	done == 4 -> atomic {
		assert(head[0] + head[1] == emitted);
		assert(emitted + lost == 6);
		assert(owner[0] == 0 && owner[1] == 0)
	}
}

init
{
	atomic { run emitter(0, false); run emitter(1, false); run emitter(0, true); run emitter(1, true) }
}
