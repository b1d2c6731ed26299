//go:build withc

package main

/*
#include <stdint.h>
void c_emit(void *writer, uint32_t w, int count);
*/
import "C"

import (
	"sync"
	"unsafe"
)

// Both halves of one program emit, each into a region of its own: goroutines on threads that C emits on too.
func goAndC() {
	var wg sync.WaitGroup
	for g := 0; g < 4; g++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ours, theirs := newWriter(), newWriter()
			for i := 0; i < 200*scale; i++ {
				emit(ours, 20)
				C.c_emit(unsafe.Pointer(&file.writer[theirs]), C.uint32_t(theirs), 20)
			}
		}()
	}
	wg.Wait()
	writeState()
}

func init() { more["and-c"] = goAndC }

// What a program that is none of Go's calls in a library that is: the case of that name.
//
//export torture_run
func torture_run(name *C.char, count *C.char) C.int {
	if !open(C.GoString(count)) {
		return 2
	}
	return C.int(play(C.GoString(name)))
}
