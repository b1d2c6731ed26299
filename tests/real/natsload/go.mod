module gander.internal/tests/natsload

go 1.21
