// Package gander without a tracer in it: every event stays off. A program that is built with this one is the program without gander.
package gander

type Level uint8

const Info Level = 6

type Event0 struct{}

func (*Event0) Emit() {}

type Event3[A, B, C any] struct{}

func (*Event3[A, B, C]) Emit(A, B, C) {}

func NewEvent0(string, Level) *Event0 { return &Event0{} }

func NewEvent3[A, B, C any](string, Level, string, string, string) *Event3[A, B, C] {
	return &Event3[A, B, C]{}
}

func Off() string { return "" }
