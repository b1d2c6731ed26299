module gander.internal/api

go 1.21
