// Package gandertrace stands in for the annotations of runtime/trace: a program that imports it instead keeps its tasks, regions and logs
// in execution traces, and has them as events in recordings too. Nothing else changes:
//
//	import trace "gander.internal/gander/gandertrace"
//
// Tasks are the spans trace.task, regions the spans trace.region, both with the attribute type; logs are the events trace.log. A span's
// parent is the task, or the gander span, that the context carries; a region's goroutine is that of its events.
package gandertrace

import (
	"context"
	"fmt"
	"runtime/trace"

	"gander.internal/gander"
)

var (
	task   = gander.NewSpan("trace.task", gander.Info)
	region = gander.NewSpan("trace.region", gander.Info)
	log    = gander.NewEvent2[string, string]("trace.log", gander.Info, "category", "message")
)

// Task is a trace.Task and a span.
type Task struct {
	t    *trace.Task
	span gander.ActiveSpan
}

// NewTask is trace.NewTask: the context carries the task, and the span.
func NewTask(ctx context.Context, taskType string) (context.Context, *Task) {
	t := &Task{}
	ctx, t.t = trace.NewTask(ctx, taskType)
	ctx, t.span = task.Start(ctx, gander.String("type", taskType))
	return ctx, t
}

// End is trace.Task's.
func (t *Task) End() {
	t.span.End()
	t.t.End()
}

// Region is a trace.Region and a span.
type Region struct {
	r    *trace.Region
	span gander.ActiveSpan
}

// StartRegion is trace.StartRegion. Regions begin and end on one goroutine and nest.
func StartRegion(ctx context.Context, regionType string) *Region {
	r := &Region{r: trace.StartRegion(ctx, regionType)}
	_, r.span = region.Start(ctx, gander.String("type", regionType))
	return r
}

// End is trace.Region's.
func (r *Region) End() {
	r.span.End()
	r.r.End()
}

// WithRegion is trace.WithRegion.
func WithRegion(ctx context.Context, regionType string, fn func()) {
	defer StartRegion(ctx, regionType).End()
	fn()
}

// Log is trace.Log.
func Log(ctx context.Context, category, message string) {
	trace.Log(ctx, category, message)
	log.EmitContext(ctx, category, message)
}

// Logf is trace.Logf; it formats only when somebody wants the text.
func Logf(ctx context.Context, category, format string, args ...any) {
	if IsEnabled() {
		Log(ctx, category, fmt.Sprintf(format, args...))
	}
}

// IsEnabled says whether an execution trace or a recording of logs is running.
func IsEnabled() bool { return trace.IsEnabled() || log.Enabled() }
