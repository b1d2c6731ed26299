/* The class table: two threads declare the same class at once, a third has died at any step of doing so; docs/region.md, "Declaring a
 * class".
 *
 * Property: nobody waits, and each gets a class that is published, with its whole description, and stays so. (Two that look at the same instant may
 * both publish: two ids for one class, which harms nothing.)
 *
 * Mutants: PUBLISH_FIRST publishes before the description is written; ALIAS_LATE takes a class back that others may have found. */
#define SLOTS 3
#define EMPTY 0
#define CLAIMED 1
#define PUBLISHED 2
#define ALIAS 3

byte count;             /* atomic add */
byte state[SLOTS];      /* [CLASS] */
bool desc[SLOTS];       /* the bytes are there */
byte got[3];            /* slot + 1 */

proctype declarer(byte t; bool dies)
{
	byte i, own, n;

#define MAY_DIE if :: dies -> goto dead :: true fi
	n = count;
	i = 0;
	do
	:: i < n && got[t] == 0 ->
		if
		:: state[i] == PUBLISHED -> assert(desc[i]); got[t] = i + 1
		:: else
		fi;
		i++
	:: else -> break
	od;
	if :: got[t] != 0 -> goto dead :: else fi;
	MAY_DIE;
	atomic { own = count; count++ }
	MAY_DIE;
	state[own] = CLAIMED;
	MAY_DIE;
#ifdef PUBLISH_FIRST
	state[own] = PUBLISHED;
	MAY_DIE;
	desc[own] = true;
#else
	desc[own] = true;
#endif
	MAY_DIE;
#ifdef ALIAS_LATE
	state[own] = PUBLISHED;
#endif
	i = 0;
	do
	:: i < own ->
		if
		:: state[i] == PUBLISHED -> state[own] = ALIAS; got[t] = i + 1; goto dead
		:: else
		fi;
		i++
	:: else -> break
	od;
	MAY_DIE;
	state[own] = PUBLISHED;
	got[t] = own + 1;
dead:
	skip
}

active proctype judge()
{
	timeout ->
	assert(got[0] != 0 && got[1] != 0);
	assert(state[got[0] - 1] == PUBLISHED && desc[got[0] - 1]);
	assert(state[got[1] - 1] == PUBLISHED && desc[got[1] - 1])
}

init
{
	atomic { run declarer(0, false); run declarer(1, false); run declarer(2, true) }
}
