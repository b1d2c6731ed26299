module readerprog

go 1.21

require gander.internal/gander v0.0.0

replace gander.internal/gander => ../../../go
