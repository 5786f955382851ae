// Package contract is what the Go servers share: requests checked as the specification says, event
// streams, and the planted lies of ../README.md.
package contract

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

var single = []string{
	"lose-accepted", "apply-twice", "wrong-user", "wrong-amount", "lost-update",
	"refused-but-applied", "never-shown", "shown-twice", "shown-for-another", "shown-wrong-score",
	"invented-event", "reordered", "torn-event", "one-listener-misses", "one-listener-twice",
}

var standing = []string{
	"silent-listener", "late-events", "stale-board", "board-wrong-score", "board-wrong-order",
	"board-leaves-out",
}

// Plan says when to lie: the single lies take turns, one every `every` submissions.
type Plan struct {
	mutex    sync.Mutex
	single   []string
	standing []string
	every    int
	count    int
	turn     int
	due      int
	frozen   []Standing
}

// NewPlan plans the lies of a comma-separated list.
func NewPlan(names string, every int) (*Plan, error) {
	plan := &Plan{every: every}
	var unknown []string
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' }) {
		switch {
		case slices.Contains(single, name):
			plan.single = append(plan.single, name)
		case slices.Contains(standing, name):
			plan.standing = append(plan.standing, name)
		default:
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		return nil, fmt.Errorf("unknown lies: %s", strings.Join(unknown, ", "))
	}
	return plan, nil
}

func (p *Plan) stands(name string) bool {
	return p.count >= p.every && slices.Contains(p.standing, name)
}

// Stands reports whether a standing lie has begun.
func (p *Plan) Stands(name string) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.stands(name)
}

// Next is the lie for the next submission, mostly none. An update is lost only after another.
func (p *Plan) Next(user string, increment int, hasGained bool) string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.count++
	if len(p.single) == 0 {
		return ""
	}
	if p.count%p.every == 0 {
		p.due++
	}
	lie := p.single[p.turn%len(p.single)]
	if p.due == 0 || (lie == "lost-update" && !hasGained) {
		return ""
	}
	p.due--
	p.turn++
	fmt.Fprintf(os.Stderr, "lie %s user=%s increment=%d\n", lie, user, increment)
	return lie
}

// Standing is one line of the board.
type Standing struct {
	User  string `json:"user"`
	Score int    `json:"score"`
}

// Freezes reports whether the board of this moment is to be kept for ever, once.
func (p *Plan) Freezes() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.frozen == nil && p.stands("stale-board")
}

// Freeze keeps this board.
func (p *Plan) Freeze(best []Standing) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.frozen = best
}

// TopTen is the answer to GET /scores, made of the best eleven.
func (p *Plan) TopTen(best []Standing) []Standing {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.frozen != nil {
		best = p.frozen
	}
	rows := slices.Clone(best)
	if p.stands("board-leaves-out") {
		rows = rows[1:]
	}
	rows = rows[:min(10, len(rows))]
	if p.stands("board-wrong-score") {
		rows[0].Score++
	}
	if last := len(rows) - 1; p.stands("board-wrong-order") {
		rows[0], rows[last] = rows[last], rows[0]
	}
	return rows
}
