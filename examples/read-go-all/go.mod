module example.com/read-go-all

go 1.26.0

require (
	gander.internal/gander v0.0.0 // indirect
	gander.internal/gander/gotrace v0.0.0
	golang.org/x/exp v0.0.0-20261014143641-f0251eb4aa3e // indirect
)

replace (
	gander.internal/gander => ../../go
	gander.internal/gander/gotrace => ../../go/gotrace
)
