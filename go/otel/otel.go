// Package otel records OpenTelemetry spans as gander's: a SpanProcessor that stands beside the exporters.
//
//	provider := sdktrace.NewTracerProvider(
//		sdktrace.WithBatcher(exporter),
//		sdktrace.WithSpanProcessor(otel.NewSpanProcessor()))
//
// The spans are otel.span.begin and otel.span.end, with the ids that OpenTelemetry gave them. The begin has the attributes name, kind and
// trace_id and those the span was started with; the end has name, status and error, and all that the span has by then. Attributes that are
// lists are texts. While nobody records them a span costs two loads more.
package otel

import (
	"context"
	"encoding/binary"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"gander.internal/gander"
)

var span = gander.NewSpan("otel.span", gander.Info)

// NewSpanProcessor makes a processor. It holds nothing: Shutdown and ForceFlush have nothing to do.
func NewSpanProcessor() sdktrace.SpanProcessor { return processor{} }

type processor struct{}

func id(s trace.SpanID) uint64 { return binary.BigEndian.Uint64(s[:]) }

// OnStart records the beginning of a span that is sampled or recorded.
func (processor) OnStart(parent context.Context, s sdktrace.ReadWriteSpan) {
	if !span.Enabled() {
		return
	}
	attrs := make([]gander.Attr, 0, 16)
	attrs = append(attrs, gander.String("name", s.Name()), gander.String("kind", s.SpanKind().String()),
		gander.String("trace_id", s.SpanContext().TraceID().String()))
	span.EmitBegin(parent, id(s.SpanContext().SpanID()), id(s.Parent().SpanID()), appendAttrs(attrs, s.Attributes())...)
}

// OnEnd records its end.
func (processor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !span.Enabled() {
		return
	}
	attrs := make([]gander.Attr, 0, 16)
	attrs = append(attrs, gander.String("name", s.Name()), gander.String("status", s.Status().Code.String()))
	if d := s.Status().Description; d != "" {
		attrs = append(attrs, gander.String("error", d))
	}
	span.EmitEnd(context.Background(), id(s.SpanContext().SpanID()), duration(s), appendAttrs(attrs, s.Attributes())...)
}

func duration(s sdktrace.ReadOnlySpan) time.Duration { return s.EndTime().Sub(s.StartTime()) }

// Shutdown does nothing.
func (processor) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing: events are in the recording when they have been emitted.
func (processor) ForceFlush(context.Context) error { return nil }

func appendAttrs(to []gander.Attr, from []attribute.KeyValue) []gander.Attr {
	for _, kv := range from {
		key := string(kv.Key)
		switch kv.Value.Type() {
		case attribute.BOOL:
			to = append(to, gander.Bool(key, kv.Value.AsBool()))
		case attribute.INT64:
			to = append(to, gander.Int64(key, kv.Value.AsInt64()))
		case attribute.FLOAT64:
			to = append(to, gander.Float64(key, kv.Value.AsFloat64()))
		case attribute.STRING:
			to = append(to, gander.String(key, kv.Value.AsString()))
		default:
			to = append(to, gander.String(key, kv.Value.Emit()))
		}
	}
	return to
}
