/* Conditions: writers that freeze their ring, writers that take packets of it, the collector that polls; docs/conditions.md. A thread may be stopped
 * between any two steps.
 *
 * Property: the word is set by one writer alone and stays until the collector has read; the event that it is about is there then; while it is
 * frozen no writer takes more than the one packet that it was about to take when the ring froze; each freeze is taken once.
 *
 * Mutants: NO_LOOK takes the oldest packet without a look at the word; PLAIN_STORE sets the word without a compare; EARLY_FREEZE sets it before the
 * event is published; EARLY_THAW lets go before the ring is read. */
#define WRITERS 2
#define EVENTS 3
#define OFF 9
#define frozen(x) (x != 0 && x != OFF)

byte trigger;         /* [FREEZE] 0 armed, OFF, or 1 + who froze it */
byte tail;            /* [TAIL] packets popped so far: the word is never the same twice */
byte there[WRITERS];  /* [HEAD] events published */
byte late[WRITERS];   /* ghost: packets taken since the freeze */
byte froze, taken;    /* ghost: how often */
byte about, about_n;  /* ghost: the event of the freeze */
bool reading, done[WRITERS];

inline freeze(me, n)
{
	if
	:: trigger == 0 ->
#ifdef PLAIN_STORE
		atomic { trigger = me + 1; froze++; about = me; about_n = n; late[0] = 0; late[1] = 0 }
#else
		if
		:: atomic { trigger == 0 -> trigger = me + 1; froze++; about = me; about_n = n; late[0] = 0; late[1] = 0 } /* [FREEZE] */
		:: else
		fi
#endif
	:: else
	fi
}

proctype writer(byte me)
{
	byte n = 0, t;

	do
	:: n < EVENTS ->
		n++;
		t = tail; /* [TAIL] acquire */
		if
#ifndef NO_LOOK
		:: frozen(trigger) -> skip /* [FREEZE]: a spare packet, or a loss that is counted */
#endif
		:: else ->
			if
			:: atomic {
				tail == t -> tail++;
				if
				:: frozen(trigger) -> late[me]++; assert(late[me] <= 1)
				:: else
				fi
			}
			:: else
			fi
		fi;
#ifdef EARLY_FREEZE
		freeze(me, n);
		there[me] = n
#else
		there[me] = n; /* [HEAD] */
		freeze(me, n)
#endif
	:: else -> break
	od;
	done[me] = true
}

proctype collector()
{
	byte seen, from;

	do
	:: frozen(trigger) ->
		seen = trigger; /* [FREEZE] acquire */
		from = tail;
		assert(there[about] >= about_n);
#ifdef EARLY_THAW
		trigger = OFF;
#endif
		reading = true;
		reading = false; /* as long as it takes */
		assert(tail - from <= WRITERS);
#ifndef EARLY_THAW
		assert(trigger == seen);
#endif
		atomic { trigger = OFF; taken++ } /* [FREEZE] */
	:: trigger == OFF -> trigger = 0 /* the rate limit is over */
	:: done[0] && done[1] && trigger == 0 -> break
	od;
	assert(froze == taken)
}

init
{
	atomic { run writer(0); run writer(1); run collector() }
}
