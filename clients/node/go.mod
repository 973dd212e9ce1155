// This file keeps the Go tools out of node_modules, where packages may bring Go of their own.
module github.com/wildkey/wildkey/clients/node

go 1.24
