//go:build race

package gander

const raceEnabled = true
