// The specification word for word, on the stack that it names: Fiber, Temporal, MySQL and Redis.
//
// One workflow for each submission, with the four steps as ordinary activities. ROLE=api and
// ROLE=worker divide it into two processes; without ROLE one process is both. ../../README.md has
// the other variables.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"strconv"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"literal/contract"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	settings, err := contract.SettingsFromEnvironment()
	if err != nil {
		return err
	}
	role, queue := os.Getenv("ROLE"), os.Getenv("TASK_QUEUE")
	store, err := openStore(os.Getenv("MYSQL_URL"), os.Getenv("REDIS_URL"), queue)
	if err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	temporal, err := client.Dial(client.Options{
		HostPort: os.Getenv("TEMPORAL_ADDRESS"), Logger: quiet,
	})
	if err != nil {
		return err
	}
	if role != "worker" {
		if err := store.seed(ctx, settings.Users); err != nil {
			return err
		}
	}
	if role != "api" {
		polling := worker.New(temporal, queue, worker.Options{})
		polling.RegisterWorkflow(ScoreUpdate)
		polling.RegisterActivity(&Activities{store: store})
		if err := polling.Start(); err != nil {
			return err
		}
		defer polling.Stop()
	}
	if role == "worker" {
		fmt.Println("worker")
		<-worker.InterruptCh()
		return nil
	}
	api := &api{
		settings: settings, checker: contract.NewChecker(settings), store: store,
		hub: contract.NewHub(settings.Plan), temporal: temporal, queue: queue,
	}
	if err := api.listen(ctx); err != nil {
		return err
	}
	listening, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(settings.Port)))
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- api.app().Listener(listening) }()
	fmt.Printf("http://%s\n", listening.Addr())
	select {
	case err = <-failed:
		return err
	case <-worker.InterruptCh():
		// Open streams would hold a graceful shutdown for ever.
		return nil
	}
}
