package gander

const (
	sysGetrandom   = 278
	sysMemfdCreate = 279
	clocksource    = "arch_sys_counter"
)
