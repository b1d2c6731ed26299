// Package ganderslog records log/slog records as events. Each attribute keeps its type, so that a recording can be filtered by it; groups
// become dotted keys.
//
//	slog.SetDefault(slog.New(ganderslog.NewHandler(slog.Default().Handler())))
//
// There is one class for each of syslog's levels that slog has: log.debug, log.info, log.warn and log.error, with the fields msg, level
// (slog's number) and attr. While nobody records them the handler costs what it costs to ask the next one.
//
// # log
//
// The standard log package writes through slog's default logger once that is set:
//
//	slog.SetDefault(slog.New(ganderslog.NewHandler(slog.NewTextHandler(os.Stderr, nil))))
//	log.Print("recorded too, at level info")
//
// # zap
//
// zap has a bridge in go.uber.org/zap/exp/zapslog the other way round; to record what zap logs, add a core that hands entries on:
//
//	type core struct {
//		zapcore.LevelEnabler
//		h slog.Handler
//	}
//
//	func (c core) With(f []zapcore.Field) zapcore.Core { return core{c.LevelEnabler, c.h.WithAttrs(attrs(f))} }
//	func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
//		if c.h.Enabled(context.Background(), level(e.Level)) {
//			return ce.AddCore(e, c)
//		}
//		return ce
//	}
//	func (c core) Write(e zapcore.Entry, f []zapcore.Field) error {
//		r := slog.NewRecord(e.Time, level(e.Level), e.Message, e.Caller.PC)
//		r.AddAttrs(attrs(f)...)
//		return c.h.Handle(context.Background(), r)
//	}
//	func (c core) Sync() error { return nil }
//
//	// zap's debug is -1, info 0, warn 1, error 2; slog's are -4, 0, 4, 8
//	func level(l zapcore.Level) slog.Level { return slog.Level(4 * l) }
//	func attrs(f []zapcore.Field) (a []slog.Attr) {
//		enc := zapcore.NewMapObjectEncoder()
//		for i := range f {
//			f[i].AddTo(enc)
//		}
//		for k, v := range enc.Fields {
//			a = append(a, slog.Any(k, v))
//		}
//		return a
//	}
//
//	logger = logger.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
//		return zapcore.NewTee(c, core{zapcore.DebugLevel, ganderslog.NewHandler(nil)})
//	}))
//
// # logr
//
// logr (1.3 and later) takes a slog handler as it is:
//
//	logger := logr.FromSlogHandler(ganderslog.NewHandler(next))
package ganderslog

import (
	"context"
	"encoding"
	"fmt"
	"log/slog"
	"sync"

	"gander.internal/gander"
)

func class(name string, level gander.Level) *gander.Class {
	return gander.NewClass(name, level,
		gander.FieldDef{Name: "msg", Type: gander.TypeString},
		gander.FieldDef{Name: "level", Type: gander.TypeInt64},
		gander.FieldDef{Name: "attr", Type: gander.TypeAttrs})
}

var (
	debug   = class("log.debug", gander.Debug)
	info    = class("log.info", gander.Info)
	warning = class("log.warn", gander.Warning)
	failure = class("log.error", gander.Error)
)

func classOf(l slog.Level) *gander.Class {
	switch {
	case l >= slog.LevelError:
		return failure
	case l >= slog.LevelWarn:
		return warning
	case l >= slog.LevelInfo:
		return info
	}
	return debug
}

// Handler is a slog.Handler that records, and hands every record on to the next handler, if there is one. Any number of goroutines may use
// it.
type Handler struct {
	next   slog.Handler
	attrs  []gander.Attr // of WithAttrs, their groups in their keys
	prefix string        // of WithGroup, with a dot at its end
}

// NewHandler makes a handler in front of next, which may be nil.
func NewHandler(next slog.Handler) *Handler { return &Handler{next: next} }

// Enabled says whether a recording or the next handler wants records of this level.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool {
	return classOf(l).Enabled() || h.next != nil && h.next.Enabled(ctx, l)
}

// Handle records r, with the span and the key of ctx, and hands it on. The error is the next handler's.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if c := classOf(r.Level); c.Enabled() {
		h.record(ctx, c, r)
	}
	if h.next != nil && h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

// scratch is what building a record needs, kept for the next one.
type scratch struct {
	attrs []gander.Attr
	buf   []byte
}

var pool = sync.Pool{New: func() any { return &scratch{buf: make([]byte, 0, 1024)} }}

const keepMax = 64 << 10 // bytes of a buffer that is kept

func (h *Handler) record(ctx context.Context, c *gander.Class, r slog.Record) {
	s := pool.Get().(*scratch)
	s.attrs = append(s.attrs[:0], h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		s.attrs = appendAttr(s.attrs, h.prefix, a, 0)
		return true
	})
	rec := c.Begin(s.buf[:0]).String(r.Message).Int64(int64(r.Level)).Attrs(s.attrs...)
	rec.CommitContext(ctx)
	if b := rec.Buffer(); cap(b) <= keepMax {
		s.buf = b
	}
	for i := range s.attrs {
		s.attrs[i] = gander.Attr{} // keep no text alive
	}
	pool.Put(s)
}

// WithAttrs is a handler whose records all have these attributes.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	n := *h
	n.attrs = append([]gander.Attr{}, h.attrs...)
	for _, a := range attrs {
		n.attrs = appendAttr(n.attrs, h.prefix, a, 0)
	}
	if h.next != nil {
		n.next = h.next.WithAttrs(attrs)
	}
	return &n
}

// WithGroup is a handler that puts the name and a dot before the keys of attributes to come.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	n := *h
	n.prefix = h.prefix + name + "."
	if h.next != nil {
		n.next = h.next.WithGroup(name)
	}
	return &n
}

// depthMax is how deep groups may nest: a LogValuer can make groups without end.
const depthMax = 16

// appendAttr appends an attribute, or those of a group. By slog's rules empty attributes and empty groups are left out, and a group
// without a key is inlined.
func appendAttr(to []gander.Attr, prefix string, a slog.Attr, depth int) []gander.Attr {
	v := a.Value.Resolve()
	if a.Key == "" && v.Kind() != slog.KindGroup {
		if v.Equal(slog.Value{}) {
			return to
		}
	}
	key := a.Key
	if prefix != "" {
		key = prefix + key
	}
	switch v.Kind() {
	case slog.KindInt64:
		return append(to, gander.Int64(key, v.Int64()))
	case slog.KindUint64:
		return append(to, gander.Uint64(key, v.Uint64()))
	case slog.KindFloat64:
		return append(to, gander.Float64(key, v.Float64()))
	case slog.KindBool:
		return append(to, gander.Bool(key, v.Bool()))
	case slog.KindString:
		return append(to, gander.String(key, v.String()))
	case slog.KindDuration:
		return append(to, gander.Duration(key, v.Duration()))
	case slog.KindTime:
		return append(to, gander.Time(key, v.Time()))
	case slog.KindGroup:
		if depth < depthMax {
			if a.Key != "" {
				prefix = key + "."
			}
			for _, g := range v.Group() {
				to = appendAttr(to, prefix, g, depth+1)
			}
		}
		return to
	}
	return append(to, gander.String(key, text(v.Any())))
}

// text is how a value of no kind of slog's is shown. A method of the value's that panics, as String of a nil pointer may, does not
// harm the program.
func text(v any) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	case encoding.TextMarshaler:
		if b, err := v.MarshalText(); err == nil {
			return string(b)
		}
	case []byte:
		return string(v)
	}
	return fmt.Sprintf("%+v", v)
}
