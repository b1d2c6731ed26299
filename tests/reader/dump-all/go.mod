module gander.internal/dump-all

go 1.26.0

require (
	gander.internal/dump v0.0.0
	gander.internal/gander v0.0.0
	gander.internal/gander/gotrace v0.0.0
)

require golang.org/x/exp v0.0.0-20261014143641-f0251eb4aa3e // indirect

replace (
	gander.internal/dump => ../dump
	gander.internal/gander => ../../../go
	gander.internal/gander/gotrace => ../../../go/gotrace
)
