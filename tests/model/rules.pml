/* Rules against declarations: a collector switches a rule on, then another off again, while two threads declare classes;
 * docs/region.md, "Declaring a class", step 5. The collector may die at each step; its successor starts over.
 *
 * Property: when all is quiet, a class is enabled if and only if the rules say so: no first event is missed, and none is recorded that
 * nobody asked for.
 *
 * Mutants: RULES_FIRST applies the rules before the class is published; NO_RECHECK does not read gen again; GIVE_UP stops looking after a few times
 * whatever gen says; WALK_FIRST lets the collector walk
 * the classes before it publishes the rule. */
#define CLASSES 2

byte gen;               /* [RULE] odd while rules change */
bool rule;              /* all classes are wanted */
bool published[CLASSES]; /* [CLASS] */
bool on_word[CLASSES]; /* [ENABLE] */
bool declared[CLASSES];
byte collectors;

proctype declarer(byte c)
{
	byte g, now, tries = 0;
	bool want;

#ifndef RULES_FIRST
	published[c] = true;
#endif
again:
	g = gen;
	want = rule;
	on_word[c] = want;
	now = gen;
	if
#ifndef NO_RECHECK
#ifdef GIVE_UP
	:: tries < 2 && (g % 2 == 1 || now != g) -> tries++; goto again
#else
	/* changed: it is all to do again. Unchanged and odd: who is at it will walk the classes, so after a few looks that is left to him. */
	:: now != g -> goto again
	:: now == g && g % 2 == 1 && tries < 2 -> tries++; goto again
#endif
#endif
	:: else
	fi;
#ifdef RULES_FIRST
	published[c] = true;
#endif
	declared[c] = true
}

/* Under lock 0: one at a time. `last` does its work to the end. */
proctype collector(bool on; bool last)
{
	byte i;
	bool dies = false;

	atomic { collectors == 0 -> collectors = 1 }
	if
	:: !last -> dies = true
	:: true
	fi;
	if
	:: gen % 2 == 0 -> gen = gen + 1
	:: else /* somebody died in the middle */
	fi;
	if :: dies -> goto out :: true fi;
#ifdef WALK_FIRST
	for (i : 0 .. CLASSES - 1) { if :: published[i] -> on_word[i] = on :: else fi }
#endif
	rule = on;
	if :: dies -> goto out :: true fi;
	gen = gen + 1;
	if :: dies -> goto out :: true fi;
#ifndef WALK_FIRST
	for (i : 0 .. CLASSES - 1) {
		if
		:: published[i] -> on_word[i] = on
		:: else
		fi
	}
#endif
out:
	collectors = 0;
	if
	:: !last -> run collector(on, true)
	:: else
	fi
}

active proctype judge()
{
	byte i;

	timeout ->
	for (i : 0 .. CLASSES - 1) {
		assert(declared[i]);
		assert(on_word[i] == rule)
	}
}

init
{
	atomic { run declarer(0); run declarer(1); run collector(true, false) }
}
