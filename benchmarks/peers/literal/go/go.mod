module literal

go 1.24
