module causes

go 1.22
