// The specification word for word, with Go's own HTTP server. State in memory; for tests only.
// ../../README.md has the variables it reads and what it prints.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"literal/contract"
)

type user struct {
	contract.Standing
	gained int
}

type submission struct {
	user, increment int
	lie             string
}

// board has the users. Submissions wait in a queue for one worker, which keeps their order.
type board struct {
	plan  *contract.Plan
	hub   *contract.Hub
	queue chan submission
	mutex sync.Mutex
	users []*user
}

func newBoard(settings contract.Settings) *board {
	made := &board{
		plan:  settings.Plan,
		hub:   contract.NewHub(settings.Plan),
		queue: make(chan submission, 1<<16),
		users: []*user{nil},
	}
	for id := 1; id <= settings.Users; id++ {
		made.users = append(made.users, &user{Standing: contract.Standing{User: contract.Name(id)}})
	}
	for id, score := range map[int]int{1: 1500, 2: 1400} {
		if id <= settings.Users {
			made.users[id].Score = score
		}
	}
	return made
}

func (b *board) knows(id int) bool { return id > 0 && id < len(b.users) }

// submit reports whether the submission is acknowledged.
func (b *board) submit(id, increment int) bool {
	b.mutex.Lock()
	lie := b.plan.Next(b.users[id].User, increment, b.users[id].gained != 0)
	if b.plan.Freezes() {
		b.plan.Freeze(b.best())
	}
	b.mutex.Unlock()
	b.queue <- submission{id, increment, lie}
	return lie != "refused-but-applied"
}

func (b *board) work() {
	for each := range b.queue {
		switch each.lie {
		case "lose-accepted":
			continue
		case "apply-twice":
			b.apply(each)
		case "wrong-user":
			each.user = contract.Another(each.user)
		case "wrong-amount":
			each.increment++
		}
		b.apply(each)
	}
}

func (b *board) apply(each submission) {
	b.mutex.Lock()
	found := b.users[each.user]
	if each.lie == "lost-update" {
		found.Score -= found.gained
	}
	found.gained = each.increment
	found.Score += each.increment
	change := contract.Change{
		Standing: found.Standing,
		Another:  b.users[contract.Another(each.user)].Standing,
		Lie:      each.lie,
	}
	b.mutex.Unlock()
	b.hub.Show(change)
}

// best is the best eleven; the caller holds the mutex.
func (b *board) best() []contract.Standing {
	var rows []contract.Standing
	for _, each := range b.users[1:] {
		if len(rows) < 11 || each.Score > rows[len(rows)-1].Score {
			place, _ := slices.BinarySearchFunc(rows, each.Score, func(row contract.Standing, score int) int {
				if row.Score >= score {
					return -1
				}
				return 1
			})
			rows = slices.Insert(rows, place, each.Standing)
			rows = rows[:min(11, len(rows))]
		}
	}
	return rows
}

func answer(w http.ResponseWriter, status int, content any) {
	data, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone, which is its own affair.
	_, _ = w.Write(data)
}

func (b *board) stream(w http.ResponseWriter, r *http.Request) {
	listener := b.hub.Join()
	go func() {
		<-r.Context().Done()
		b.hub.Leave(listener)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flusher := w.(http.Flusher)
	flusher.Flush()
	for {
		events := listener.Next()
		if events == nil {
			return
		}
		if _, err := w.Write(events); err != nil {
			return
		}
		flusher.Flush()
	}
}

func main() {
	settings, err := contract.SettingsFromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	board, checker := newBoard(settings), contract.NewChecker(settings)
	go board.work()
	http.HandleFunc("GET /scores", func(w http.ResponseWriter, _ *http.Request) {
		board.mutex.Lock()
		best := board.best()
		board.mutex.Unlock()
		answer(w, 200, board.plan.TopTen(best))
	})
	http.HandleFunc("GET /scores/stream", board.stream)
	http.HandleFunc("POST /scores/update", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if err != nil {
			answer(w, 400, map[string]string{"error": "unreadable body"})
			return
		}
		user, increment, status, text := checker.Check(r.Header.Get("Authorization"), body)
		switch {
		case status != 0:
			answer(w, status, map[string]string{"error": text})
		case !board.knows(user):
			answer(w, 404, map[string]string{"error": "no such user"})
		case !board.submit(user, increment):
			answer(w, 422, map[string]string{"error": "refused"})
		default:
			answer(w, 200, map[string]string{"message": contract.Message})
		}
	})
	listening, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(settings.Port)))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listening.Addr())
	log.Fatal(http.Serve(listening, nil))
}
