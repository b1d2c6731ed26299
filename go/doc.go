// Package gander is a program's own side of gander: events that cost about twice the reading of the CPU's counter when they are recorded,
// and half a nanosecond when they are not.
//
//	var evOrder = gander.NewEvent2[int, string]("shop.order", gander.Info, "status", "product")
//
//	evOrder.Emit(status, product)
//
// Nothing has to be set up: `gander record -p PID` records the running program, `gander record -- ./program` one from its first event.
// Typed events (NewEvent0 to NewEvent8) and spans (NewSpan) are for programs; classes declared at run time (NewClass) for runtimes of
// other languages and for bridges. The packages ganderslog, ganderhttp and gandertrace record what log/slog, net/http and runtime/trace
// see; the module gander.internal/gander/otel what OpenTelemetry does.
//
// What the agent promises to a program: it starts no thread and no goroutine, keeps no descriptor, makes no system call after its
// start (but a sleep where a recording asked to wait rather than lose), allocates nothing on the way of an event, and never panics or prints.
// Every event that returned is in the recording, or counted as lost with the reason, even if the program is killed by SIGKILL. It is pure Go
// and assembly, with no dependency; docs/go-agent.md says how it works and what it costs.
//
// All functions and methods may be called by any number of goroutines at once, if nothing else is said.
package gander
