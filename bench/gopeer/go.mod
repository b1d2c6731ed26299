module gander.internal/bench/gopeer

go 1.21

require gander.internal/gander v0.1.0

replace gander.internal/gander => ../../go
