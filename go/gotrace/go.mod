module gander.internal/gander/gotrace

go 1.26.0

require (
	gander.internal/gander v0.0.0
	golang.org/x/exp v0.0.0-20261014143641-f0251eb4aa3e
)

replace gander.internal/gander => ../
