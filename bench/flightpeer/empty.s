// Empty: it lets the package declare a function that the runtime defines.
