// Temporal's own server, built from its published modules: each role (frontend, history, matching,
// worker) as a process of its own, on PostgreSQL or MySQL, and the tool that makes its schema.
//
//	temporal-server start FILE ROLE…   serves these roles as the configuration file says
//	temporal-server sql ARGUMENT…      what the server calls temporal-sql-tool
//
// It is what the development server is not: several processes, a database server, and nothing made
// on demand (no namespace, no search attributes). It adds no behaviour of its own.
package main

import (
	"fmt"
	"os"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/temporal"
	"go.temporal.io/server/tools/sql"
)

const usage = "usage: temporal-server start FILE ROLE… | temporal-server sql ARGUMENT…"

func main() {
	arguments := os.Args[1:]
	switch {
	case len(arguments) >= 3 && arguments[0] == "start":
		if err := serve(arguments[1], arguments[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "temporal-server:", err)
			os.Exit(1)
		}
	case len(arguments) >= 1 && arguments[0] == "sql":
		if err := sql.RunTool(append([]string{"temporal-sql-tool"}, arguments[1:]...)); err != nil {
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}

// serve runs until it is interrupted.
func serve(file string, roles []string) error {
	settings, err := config.Load(config.WithConfigFile(file))
	if err != nil {
		return err
	}
	server, err := temporal.NewServer(
		temporal.ForServices(roles),
		temporal.WithConfig(settings),
		temporal.WithLogger(log.NewZapLogger(log.BuildZapLogger(settings.Log))),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.InterruptOn(temporal.InterruptCh()),
	)
	if err != nil {
		return err
	}
	return server.Start()
}
