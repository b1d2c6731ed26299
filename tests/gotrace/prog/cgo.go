//go:build cgo && go1.17

package main

/*
#include <pthread.h>
#include <time.h>

void goCallback(int);

static void *run(void *arg) { goCallback(1); goCallback(2); return 0; }

static void on_thread(void) { pthread_t t; pthread_create(&t, 0, run, 0); pthread_join(t, 0); }
static void nap(void) { struct timespec t = { 0, 300000 }; nanosleep(&t, 0); goCallback(0); }
*/
import "C"
import "runtime"

//export goCallback
func goCallback(i C.int) { runtime.Gosched() }

func init() {
	workloads["cgo"] = func() {
		each(4, func(int) {
			for going() {
				C.nap()
				C.on_thread()
			}
		})
	}
}
