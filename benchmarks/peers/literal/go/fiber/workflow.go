package main

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Update is a submission on its way.
type Update struct {
	UserID    int
	Increment int
	Lie       string
}

// ScoreUpdate has the specification's four steps, one after the other.
func ScoreUpdate(ctx workflow.Context, update Update) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 10 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond},
	})
	var steps *Activities
	for _, step := range []any{
		steps.ValidateInput, steps.UpdateDatabase, steps.PublishToRedis, steps.NotifyClients,
	} {
		if err := workflow.ExecuteActivity(ctx, step, update).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// Activities are the steps. Each may be repeated.
type Activities struct {
	store *store
}

// ValidateInput fails for good where there is no such user.
func (a *Activities) ValidateInput(ctx context.Context, update Update) error {
	_, err := a.store.name(ctx, update.UserID)
	if errors.Is(err, errUnknownUser) {
		return temporal.NewNonRetryableApplicationError(err.Error(), "UnknownUser", nil)
	}
	return err
}

// UpdateDatabase adds the increment in MySQL.
func (a *Activities) UpdateDatabase(ctx context.Context, update Update) error {
	return a.store.apply(ctx, activity.GetInfo(ctx).WorkflowExecution.ID, update)
}

// PublishToRedis updates the leaderboard.
func (a *Activities) PublishToRedis(ctx context.Context, update Update) error {
	return a.store.publish(ctx, update.UserID)
}

// NotifyClients tells the API processes, which tell their listeners.
func (a *Activities) NotifyClients(ctx context.Context, update Update) error {
	return a.store.notify(ctx, update.UserID)
}
