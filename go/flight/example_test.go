//go:build go1.22 && linux && (amd64 || arm64)

package flight_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"time"

	"gander.internal/gander/flight"
)

// SlowRequests keeps the trace of the first request that took longer than limit: in a file, or (path is empty) set aside in the region, from where
// gander snapshot takes it.
func SlowRequests(next http.Handler, limit time.Duration, path string) http.Handler {
	var once sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		next.ServeHTTP(w, r)
		took := time.Since(start)
		if took < limit {
			return
		}
		once.Do(func() { // beside the answer: the request does not wait for it
			go func() {
				if err := keep(path, fmt.Sprintf("%s took %v", r.URL.Path, took)); err != nil {
					log.Print(err)
				}
			}()
		})
	})
}

func keep(path, reason string) error {
	if path == "" {
		return flight.Snapshot(reason)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err = flight.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// LastSeconds serves the trace of the last seconds, for go tool trace.
func LastSeconds(w http.ResponseWriter, r *http.Request) {
	var trace bytes.Buffer // so that an error can still be told
	if _, err := flight.WriteTo(&trace); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(trace.Len()))
	io.Copy(w, &trace)
}

// A service that keeps the trace of its first slow request, and gives that of the last seconds to who asks.
func Example() {
	if err := flight.Start(flight.Options{Keep: 10 * time.Second}); err != nil {
		log.Fatal(err)
	}
	defer flight.Stop()
	file, err := os.CreateTemp("", "slow-*.trace")
	if err != nil {
		log.Fatal(err)
	}
	file.Close()
	defer os.Remove(file.Name())

	guess := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("guess") == "17" {
			time.Sleep(300 * time.Millisecond)
		}
		fmt.Fprintln(w, "no")
	})
	mux := http.NewServeMux()
	mux.Handle("/guess", SlowRequests(guess, 300*time.Millisecond, file.Name()))
	mux.HandleFunc("/debug/flight", LastSeconds)
	srv := httptest.NewServer(mux)
	defer srv.Close()

	for _, path := range []string{"/guess?guess=1", "/guess?guess=17", "/debug/flight"} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(path, resp.StatusCode, err, bytes.HasPrefix(body, []byte("go 1.")))
	}
	var slow []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && len(slow) == 0; time.Sleep(time.Millisecond) {
		slow, _ = os.ReadFile(file.Name())
	}
	fmt.Println("slow request:", bytes.HasPrefix(slow, []byte("go 1.")))
	// Output:
	// /guess?guess=1 200 <nil> false
	// /guess?guess=17 200 <nil> false
	// /debug/flight 200 <nil> true
	// slow request: true
}
