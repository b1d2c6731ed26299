package gander

const (
	sysGetrandom   = 318
	sysMemfdCreate = 319
	clocksource    = "tsc"
)
