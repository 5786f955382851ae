package main

import (
	"bufio"
	"context"
	"encoding/json"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"literal/contract"
)

// api serves the three calls. gained has the users with an accepted submission, for lost-update.
type api struct {
	settings contract.Settings
	checker  *contract.Checker
	hub      *contract.Hub
	store    *store
	temporal client.Client
	queue    string
	gained   sync.Map
}

func (a *api) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/scores", a.scores)
	app.Post("/scores/update", a.update)
	app.Get("/scores/stream", a.stream)
	return app
}

// listen passes what workers publish to the hub. It returns once Redis has confirmed.
func (a *api) listen(ctx context.Context) error {
	subscription := a.store.redis.Subscribe(ctx, a.store.channel)
	if _, err := subscription.Receive(ctx); err != nil {
		return err
	}
	go func() {
		for message := range subscription.Channel() {
			var change contract.Change
			if json.Unmarshal([]byte(message.Payload), &change) == nil {
				a.hub.Show(change)
			}
		}
	}()
	return nil
}

func (a *api) scores(c *fiber.Ctx) error {
	best, err := a.store.best(c.Context())
	if err != nil {
		return err
	}
	return c.JSON(a.settings.Plan.TopTen(best))
}

func (a *api) update(c *fiber.Ctx) error {
	user, increment, status, text := a.checker.Check(c.Get("Authorization"), c.Body())
	if status != 0 {
		return c.Status(status).JSON(fiber.Map{"error": text})
	}
	_, gained := a.gained.LoadOrStore(user, true)
	lie := a.settings.Plan.Next(contract.Name(user), increment, gained)
	if a.settings.Plan.Freezes() {
		best, err := a.store.best(c.Context())
		if err != nil {
			return err
		}
		a.settings.Plan.Freeze(best)
	}
	starts := 1
	switch lie {
	case "lose-accepted":
		starts = 0
	case "apply-twice":
		starts = 2
	case "wrong-user":
		user = contract.Another(user)
	case "wrong-amount":
		increment++
	}
	for range starts {
		options := client.StartWorkflowOptions{ID: uuid.NewString(), TaskQueue: a.queue}
		_, err := a.temporal.ExecuteWorkflow(c.Context(), options, ScoreUpdate, Update{user, increment, lie})
		if err != nil {
			return c.Status(503).JSON(fiber.Map{"error": "no workflow was started"})
		}
	}
	if lie == "refused-but-applied" {
		return c.Status(422).JSON(fiber.Map{"error": "refused"})
	}
	return c.JSON(fiber.Map{"message": contract.Message})
}

func (a *api) stream(c *fiber.Ctx) error {
	c.Set("Content-Type", "text/event-stream")
	c.Set("Cache-Control", "no-cache")
	c.Set("Connection", "keep-alive")
	// Else the client would wait for the head until the first event.
	c.Response().ImmediateHeaderFlush = true
	listener := a.hub.Join()
	connection := c.Context().Conn()
	go func() {
		// A listener sends nothing more, so what ends this read is the end of the connection.
		_, _ = connection.Read(make([]byte, 1))
		a.hub.Leave(listener)
	}()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer a.hub.Leave(listener)
		for {
			events := listener.Next()
			if events == nil {
				return
			}
			if _, err := w.Write(events); err != nil {
				return
			}
			if w.Flush() != nil {
				return
			}
		}
	})
	return nil
}
