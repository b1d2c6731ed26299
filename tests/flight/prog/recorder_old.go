//go:build !go1.25

package main

func recorder(path string) string { return "none" }
