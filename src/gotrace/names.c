/* What things are called, as the Go tools call them. */
#include "gotrace/gotrace_internal.h"
#include "gotrace/gotrace_v1.h"

#include <string.h>

const uint8_t wire_nargs[256] = {
	[EV_PROCS_CHANGE] = 3,
	[EV_PROC_START] = 3,
	[EV_PROC_STOP] = 1,
	[EV_PROC_STEAL] = 4,
	[EV_PROC_STATUS] = 3,
	[EV_GO_CREATE] = 4,
	[EV_GO_CREATE_SYSCALL] = 2,
	[EV_GO_START] = 3,
	[EV_GO_DESTROY] = 1,
	[EV_GO_DESTROY_SYSCALL] = 1,
	[EV_GO_STOP] = 3,
	[EV_GO_BLOCK] = 3,
	[EV_GO_UNBLOCK] = 4,
	[EV_GO_SYSCALL_BEGIN] = 3,
	[EV_GO_SYSCALL_END] = 1,
	[EV_GO_SYSCALL_END_BLOCKED] = 1,
	[EV_GO_STATUS] = 4,
	[EV_STW_BEGIN] = 3,
	[EV_STW_END] = 1,
	[EV_GC_ACTIVE] = 2,
	[EV_GC_BEGIN] = 3,
	[EV_GC_END] = 2,
	[EV_GC_SWEEP_ACTIVE] = 2,
	[EV_GC_SWEEP_BEGIN] = 2,
	[EV_GC_SWEEP_END] = 3,
	[EV_GC_MARK_ASSIST_ACTIVE] = 2,
	[EV_GC_MARK_ASSIST_BEGIN] = 2,
	[EV_GC_MARK_ASSIST_END] = 1,
	[EV_HEAP_ALLOC] = 2,
	[EV_HEAP_GOAL] = 2,
	[EV_GO_LABEL] = 2,
	[EV_USER_TASK_BEGIN] = 5,
	[EV_USER_TASK_END] = 3,
	[EV_USER_REGION_BEGIN] = 4,
	[EV_USER_REGION_END] = 4,
	[EV_USER_LOG] = 5,
	[EV_GO_SWITCH] = 3,
	[EV_GO_SWITCH_DESTROY] = 3,
	[EV_GO_CREATE_BLOCKED] = 4,
	[EV_GO_STATUS_STACK] = 5,
	[EV_SPAN] = 4,
	[EV_SPAN_ALLOC] = 4,
	[EV_SPAN_FREE] = 2,
	[EV_HEAP_OBJECT] = 3,
	[EV_HEAP_OBJECT_ALLOC] = 3,
	[EV_HEAP_OBJECT_FREE] = 2,
	[EV_GOROUTINE_STACK] = 3,
	[EV_GOROUTINE_STACK_ALLOC] = 3,
	[EV_GOROUTINE_STACK_FREE] = 2,
};

static const char *const wire_names[256] = {
	[EV_EVENT_BATCH] = "EventBatch",
	[EV_STACKS] = "Stacks",
	[EV_STACK] = "Stack",
	[EV_STRINGS] = "Strings",
	[EV_STRING] = "String",
	[EV_CPU_SAMPLES] = "CPUSamples",
	[EV_CPU_SAMPLE] = "CPUSample",
	[EV_FREQUENCY] = "Frequency",
	[EV_PROCS_CHANGE] = "ProcsChange",
	[EV_PROC_START] = "ProcStart",
	[EV_PROC_STOP] = "ProcStop",
	[EV_PROC_STEAL] = "ProcSteal",
	[EV_PROC_STATUS] = "ProcStatus",
	[EV_GO_CREATE] = "GoCreate",
	[EV_GO_CREATE_SYSCALL] = "GoCreateSyscall",
	[EV_GO_START] = "GoStart",
	[EV_GO_DESTROY] = "GoDestroy",
	[EV_GO_DESTROY_SYSCALL] = "GoDestroySyscall",
	[EV_GO_STOP] = "GoStop",
	[EV_GO_BLOCK] = "GoBlock",
	[EV_GO_UNBLOCK] = "GoUnblock",
	[EV_GO_SYSCALL_BEGIN] = "GoSyscallBegin",
	[EV_GO_SYSCALL_END] = "GoSyscallEnd",
	[EV_GO_SYSCALL_END_BLOCKED] = "GoSyscallEndBlocked",
	[EV_GO_STATUS] = "GoStatus",
	[EV_STW_BEGIN] = "STWBegin",
	[EV_STW_END] = "STWEnd",
	[EV_GC_ACTIVE] = "GCActive",
	[EV_GC_BEGIN] = "GCBegin",
	[EV_GC_END] = "GCEnd",
	[EV_GC_SWEEP_ACTIVE] = "GCSweepActive",
	[EV_GC_SWEEP_BEGIN] = "GCSweepBegin",
	[EV_GC_SWEEP_END] = "GCSweepEnd",
	[EV_GC_MARK_ASSIST_ACTIVE] = "GCMarkAssistActive",
	[EV_GC_MARK_ASSIST_BEGIN] = "GCMarkAssistBegin",
	[EV_GC_MARK_ASSIST_END] = "GCMarkAssistEnd",
	[EV_HEAP_ALLOC] = "HeapAlloc",
	[EV_HEAP_GOAL] = "HeapGoal",
	[EV_GO_LABEL] = "GoLabel",
	[EV_USER_TASK_BEGIN] = "UserTaskBegin",
	[EV_USER_TASK_END] = "UserTaskEnd",
	[EV_USER_REGION_BEGIN] = "UserRegionBegin",
	[EV_USER_REGION_END] = "UserRegionEnd",
	[EV_USER_LOG] = "UserLog",
	[EV_GO_SWITCH] = "GoSwitch",
	[EV_GO_SWITCH_DESTROY] = "GoSwitchDestroy",
	[EV_GO_CREATE_BLOCKED] = "GoCreateBlocked",
	[EV_GO_STATUS_STACK] = "GoStatusStack",
	[EV_EXPERIMENTAL_BATCH] = "ExperimentalBatch",
	[EV_SYNC] = "Sync",
	[EV_CLOCK_SNAPSHOT] = "ClockSnapshot",
	[EV_END_OF_GENERATION] = "EndOfGeneration",
	[EV_SPAN] = "Span",
	[EV_SPAN_ALLOC] = "SpanAlloc",
	[EV_SPAN_FREE] = "SpanFree",
	[EV_HEAP_OBJECT] = "HeapObject",
	[EV_HEAP_OBJECT_ALLOC] = "HeapObjectAlloc",
	[EV_HEAP_OBJECT_FREE] = "HeapObjectFree",
	[EV_GOROUTINE_STACK] = "GoroutineStack",
	[EV_GOROUTINE_STACK_ALLOC] = "GoroutineStackAlloc",
	[EV_GOROUTINE_STACK_FREE] = "GoroutineStackFree",
	[EV_READER_SYNC] = "Sync",
};

const char *gander_gotrace_wire_name(uint8_t wire)
{
	return wire_names[wire];
}

const char *gander_gotrace_exp_name(uint8_t wire)
{
	return wire >= EV_SPAN && wire <= EV_GOROUTINE_STACK_FREE ? wire_names[wire] : NULL;
}

const char *gander_gotrace_exp_arg(uint8_t wire, unsigned i)
{
	static const char *const args[][GANDER_GOTRACE_EXP_ARGS] = {
		{ "id", "npages_value", "kindclass" },
		{ "id", "npages_value", "kindclass" },
		{ "id" },
		{ "id", "type" },
		{ "id", "type" },
		{ "id" },
		{ "id", "order" },
		{ "id", "order" },
		{ "id" },
	};

	if (wire < EV_SPAN || wire > EV_GOROUTINE_STACK_FREE || i >= GANDER_GOTRACE_EXP_ARGS)
		return NULL;
	return args[wire - EV_SPAN][i];
}

const char *gander_gotrace_kind_name(unsigned kind)
{
	static const char *const names[GANDER_GOTRACE_KINDS] = {
		"Bad",
		"Sync",
		"Metric",
		"Label",
		"StackSample",
		"RangeBegin",
		"RangeActive",
		"RangeEnd",
		"TaskBegin",
		"TaskEnd",
		"RegionBegin",
		"RegionEnd",
		"Log",
		"StateTransition",
		"Experimental",
	};

	return kind < GANDER_GOTRACE_KINDS ? names[kind] : "Bad";
}

const char *gander_gotrace_go_state_name(unsigned state)
{
	static const char *const names[GANDER_GOTRACE_GO_STATES] = {
		"Undetermined",
		"NotExist",
		"Runnable",
		"Running",
		"Waiting",
		"Syscall",
	};

	return state < GANDER_GOTRACE_GO_STATES ? names[state] : "Bad";
}

const char *gander_gotrace_proc_state_name(unsigned state)
{
	static const char *const names[GANDER_GOTRACE_PROC_STATES] = { "Undetermined", "NotExist", "Running", "Idle" };

	return state < GANDER_GOTRACE_PROC_STATES ? names[state] : "Bad";
}

/* Reasons of waits and stops and names of GC workers: they are in every generation's table from its begin on. */
static const char *const reasons[] = {
	"",
	"unspecified",
	"forever",
	"network",
	"select",
	"sync.(*Cond).Wait",
	"sync",
	"chan send",
	"chan receive",
	"GC mark assist wait for work",
	"GC background sweeper wait",
	"system goroutine wait",
	"preempted",
	"wait for debug call",
	"wait until GC ends",
	"sleep",
	"runtime.Gosched",
	"GC weak to strong wait",
	"synctest",
	"GC (dedicated)",
	"GC (fractional)",
	"GC (idle)",
};

const char *const stw_causes[STW_CAUSES] = {
	"",
	"GC mark termination",
	"GC sweep termination",
	"write heap dump",
	"goroutine profile",
	"goroutine profile cleanup",
	"all goroutine stack trace",
	"read mem stats",
	"AllThreadsSyscall",
	"GOMAXPROCS",
	"start trace",
	"stop trace",
	"CountPagesInUse (test)",
	"ReadMetricsSlow (test)",
	"ReadMemStatsSlow (test)",
	"PageCachePagesLeaked (test)",
	"ResetDebugLog (test)",
};

/* What else the runtime writes when it happens; of the first, that is its name in v2. */
static const char *const others[] = { "all goroutines stack trace", "bad", "background" };

static bool is_one_of(const char *const *list, size_t n, const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strlen(list[i]) == len && !memcmp(list[i], s, len))
			return true;
	return false;
}

bool gander_gotrace_reason_word(const char *s, size_t n)
{
	return is_one_of(reasons, sizeof(reasons) / sizeof(*reasons), s, n);
}

bool gander_gotrace_runtime_word(const char *s, size_t n)
{
	return is_one_of(stw_causes, STW_CAUSES, s, n) || is_one_of(others, sizeof(others) / sizeof(*others), s, n) || gander_gotrace_reason_word(s, n);
}

unsigned gotrace_version(const void *head)
{
	const char *h = head;

	if (memcmp(h, "go 1.", 5) || h[5] < '0' || h[5] > '9' || h[6] < '0' || h[6] > '9' || memcmp(h + 7, " trace\0\0\0", 9))
		return 0;
	return (unsigned)(h[5] - '0') * 10 + (unsigned)(h[6] - '0');
}

int gotrace_wire_args(unsigned type)
{
	return type < sizeof(wire_nargs) ? wire_nargs[type] - 1 : -1;
}

const char *gotrace_v1_name(unsigned type)
{
	return type && type < V1_TYPES ? v1_name((uint8_t)type) : NULL;
}
