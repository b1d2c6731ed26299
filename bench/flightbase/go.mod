module flightbase

go 1.21

require flightpeer v0.0.0

require gander.internal/gander v0.0.0 // indirect

replace flightpeer => ../flightpeer

replace gander.internal/gander => ../../go
