package gander_test

import (
	"context"
	"time"

	"gander.internal/gander"
)

// An event is a package-level variable: its fields have types and names. Emitting it costs half a nanosecond while nobody records it.
var evOrder = gander.NewEvent3[int, string, time.Duration]("shop.order", gander.Info, "status", "product", "took",
	gander.Enum("status", map[int64]string{0: "accepted", 1: "sold out"}))

func ExampleNewEvent3() {
	start := time.Now()
	evOrder.Emit(0, "gander", time.Since(start))
}

var spanQuery = gander.NewSpan("shop.query", gander.Info)

func ExampleSpan_Start() {
	query := func(ctx context.Context, sql string) (rows int, err error) {
		ctx, sp := spanQuery.Start(ctx, gander.String("sql", sql))
		defer func() { sp.End(gander.Int("rows", rows), gander.Bool("failed", err != nil)) }()
		_ = ctx // carries the span to what is called from here
		return 3, nil
	}
	query(context.Background(), "select 1")
}

var clsMove = gander.NewClass("game.move", gander.Debug,
	gander.FieldDef{Name: "piece", Type: gander.TypeString},
	gander.FieldDef{Name: "path", Type: gander.SequenceOf(gander.StructOf(
		gander.FieldDef{Name: "x", Type: gander.TypeInt16}, gander.FieldDef{Name: "y", Type: gander.TypeInt16}))})

func ExampleClass_Begin() {
	var buf [64]byte
	clsMove.Begin(buf[:]).String("queen").Len(2).Int16(1).Int16(2).Int16(3).Int16(4).Commit()
}
