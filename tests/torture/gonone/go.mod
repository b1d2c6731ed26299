module gander.internal/gander

go 1.21
