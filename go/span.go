package gander

import (
	"context"
	"sync/atomic"
	"time"

	"gander.internal/gander/internal/region"
)

// Span is a kind of work that takes time: a request, a query. Each is two events, NAME.begin and NAME.end, joined by an id.
// It comes from NewSpan and may be used by any number of goroutines.
type Span struct {
	beginOn, endOn *uint32
	begin, end     *Class
}

// NewSpan declares a kind of spans, for a package-level variable. It never fails, as NewEvent0 does not.
func NewSpan(name string, level Level) *Span {
	s := &Span{
		begin: newClass(region.KindSpanBegin, name+".begin", level,
			[]FieldDef{{Name: "span_id", Type: TypeUint64, Hex: true}, {Name: "parent_id", Type: TypeUint64, Hex: true}, {Name: "attr", Type: TypeAttrs}}),
		end: newClass(region.KindSpanEnd, name+".end", level,
			[]FieldDef{{Name: "span_id", Type: TypeUint64, Hex: true}, {Name: "duration", Type: TypeUint64, Duration: true}, {Name: "attr", Type: TypeAttrs}}),
	}
	s.beginOn, s.endOn = s.begin.on, s.end.on
	return s
}

// ActiveSpan is one span that was started. It is a value; the zero ActiveSpan, which a Start gives that nobody records, does nothing.
type ActiveSpan struct{ ctx *spanContext }

// ID is the span's id, 0 when it is not recorded.
func (a ActiveSpan) ID() uint64 {
	if a.ctx == nil {
		return 0
	}
	return a.ctx.id
}

// Enabled says whether any recording wants these spans.
func (s *Span) Enabled() bool { return on(s.beginOn) || on(s.endOn) }

// Start begins a span, a child of the one that ctx carries, and returns a context that carries it. When no recording wants the spans it
// returns ctx itself, after a call, two loads, and the making of the attributes (a few nanoseconds each: ask Enabled first where that is
// too much); else the context is the one allocation.
func (s *Span) Start(ctx context.Context, attrs ...Attr) (context.Context, ActiveSpan) {
	if !on(s.beginOn) && !on(s.endOn) {
		return ctx, ActiveSpan{}
	}
	c := s.begun(ctx, attrs)
	return c, ActiveSpan{c}
}

// End ends the span; the duration is measured by the monotonic clock. A span that is never ended stays open in the recording.
func (a ActiveSpan) End(attrs ...Attr) {
	if a.ctx != nil {
		a.ctx.ended(attrs)
	}
}

//go:noinline
func (s *Span) begun(ctx context.Context, attrs []Attr) *spanContext {
	if ctx == nil {
		ctx = context.Background() // a program must not fail only because it is recorded
	}
	c := &spanContext{Context: ctx, id: newSpanID(), span: s}
	parent := uint64(0)
	if up, ok := ctx.Value(spanKey{}).(*spanContext); ok {
		parent, c.trace = up.id, up.trace
	} else {
		c.trace = newTrace(c.id)
	}
	c.start = monotonic()
	s.EmitBegin(c, c.id, parent, attrs...)
	return c
}

//go:noinline
func (c *spanContext) ended(attrs []Attr) {
	c.span.EmitEnd(c, c.id, time.Duration(monotonic()-c.start), attrs...)
}

// EmitBegin records the beginning of a span whose id was made elsewhere: for bridges from other tracers. parent is 0 for none.
func (s *Span) EmitBegin(ctx context.Context, id, parent uint64, attrs ...Attr) {
	emitSpan(s.begin, ctx, id, parent, attrs)
}

// EmitEnd records the end of a span whose id was made elsewhere.
func (s *Span) EmitEnd(ctx context.Context, id uint64, d time.Duration, attrs ...Attr) {
	emitSpan(s.end, ctx, id, uint64(max(d, 0)), attrs)
}

func emitSpan(c *Class, ctx context.Context, id, second uint64, attrs []Attr) {
	if on(c.on) {
		var buf [256]byte
		c.emit(ctx, appendAttrs(append64(append64(buf[:0], id), second), attrs))
	}
}

type spanKey struct{}
type userKey struct{}

// TraceID is the id of a whole trace, as W3C's trace context has it.
type TraceID [16]byte

type spanContext struct {
	context.Context
	id    uint64
	trace TraceID
	span  *Span // nil: another program's
	start int64
}

func (c *spanContext) Value(key any) any {
	if key == (spanKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// SpanFromContext gives the innermost span that ctx carries, and its trace; id is 0 when there is none.
func SpanFromContext(ctx context.Context) (id uint64, trace TraceID) {
	if c, ok := ctx.Value(spanKey{}).(*spanContext); ok {
		return c.id, c.trace
	}
	return 0, TraceID{}
}

// WithRemoteSpan returns a context whose next span is a child of one in another program.
func WithRemoteSpan(ctx context.Context, id uint64, trace TraceID) context.Context {
	return &spanContext{Context: ctx, id: id, trace: trace}
}

// WithKey returns a context that carries a key of the program's own, a customer or a shard: recordings that ask for keys put it on
// every event that gets the context.
func WithKey(ctx context.Context, key uint64) context.Context {
	return context.WithValue(ctx, userKey{}, key)
}

// contextIDs are the innermost span and the user's key that ctx carries, 0 for none.
func contextIDs(ctx context.Context) (span, key uint64) {
	if c, ok := ctx.Value(spanKey{}).(*spanContext); ok {
		span = c.id
	}
	key, _ = ctx.Value(userKey{}).(uint64)
	return span, key
}

var spanCount uint64

// newSpanID is an id that no other span has: a count, spread by a bijection, from a random start that is this process's.
func newSpanID() uint64 {
	for {
		x := spanSeed + atomic.AddUint64(&spanCount, 1)
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		if x ^= x >> 31; x != 0 {
			return x
		}
	}
}

// newTrace is the trace of a span without a parent.
func newTrace(id uint64) (t TraceID) {
	for i := range t[:8] {
		t[i], t[8+i] = byte(spanSeed>>(56-8*i)), byte(id>>(56-8*i))
	}
	return t
}
