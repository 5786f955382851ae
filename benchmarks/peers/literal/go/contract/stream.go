package contract

import (
	"encoding/json"
	"sync"
	"time"
)

const (
	late         = 2 * time.Second
	pendingBytes = 64 << 20
)

// Change is an applied submission as the stream shows it. Another user's standing serves lies.
type Change struct {
	Standing
	Another Standing `json:"another"`
	Lie     string   `json:"lie,omitempty"`
}

// Hub passes every event to every listener. A listener too far behind is disconnected.
type Hub struct {
	plan      *Plan
	mutex     sync.Mutex
	listeners []*Listener
	held      map[string][][]byte
	late      chan lateEvent
}

type lateEvent struct {
	due   time.Time
	event []byte
	lie   string
}

// Listener is one open stream.
type Listener struct {
	mutex   sync.Mutex
	pending []byte
	woken   chan struct{}
	gone    chan struct{}
}

// NewHub makes a hub without listeners.
func NewHub(plan *Plan) *Hub {
	hub := &Hub{plan: plan, held: map[string][][]byte{}, late: make(chan lateEvent, 1<<16)}
	// One after the other, since timers of the same moment would fire in any order.
	go func() {
		for each := range hub.late {
			time.Sleep(time.Until(each.due))
			hub.send(each.event, each.lie)
		}
	}()
	return hub
}

// Join adds a listener.
func (h *Hub) Join() *Listener {
	listener := &Listener{woken: make(chan struct{}, 1), gone: make(chan struct{})}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.listeners = append(h.listeners, listener)
	return listener
}

// Leave removes a listener, whose Next then returns nothing. Calling it again is harmless.
func (h *Hub) Leave(listener *Listener) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.leave(listener)
}

func (h *Hub) leave(listener *Listener) {
	for place, each := range h.listeners {
		if each == listener {
			// A new slice: a caller may be ranging over the old one.
			kept := append([]*Listener{}, h.listeners[:place]...)
			h.listeners = append(kept, h.listeners[place+1:]...)
			close(listener.gone)
			return
		}
	}
}

// Next waits for events and returns all there are; nothing once the listener has left.
func (l *Listener) Next() []byte {
	for {
		l.mutex.Lock()
		found := l.pending
		l.pending = nil
		l.mutex.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-l.woken:
		case <-l.gone:
			return nil
		}
	}
}

func (l *Listener) add(event []byte) bool {
	l.mutex.Lock()
	l.pending = append(l.pending, event...)
	fits := len(l.pending) <= pendingBytes
	l.mutex.Unlock()
	select {
	case l.woken <- struct{}{}:
	default:
	}
	return fits
}

func event(user string, score int) []byte {
	data, err := json.Marshal(Standing{User: user, Score: score})
	if err != nil {
		panic(err)
	}
	return []byte("event: update\ndata: " + string(data) + "\n\n")
}

// Show sends the event of a change, or what its lie makes of it. Not for concurrent use: the order
// of calls is the order of events.
func (h *Hub) Show(change Change) {
	user, score, lie := change.User, change.Score, change.Lie
	switch lie {
	case "never-shown":
		return
	case "reordered":
		h.held[user] = append(h.held[user], event(user, score))
		return
	case "shown-for-another":
		h.tell(event(change.Another.User, score), "")
	case "shown-wrong-score":
		h.tell(event(user, score+1), "")
	case "torn-event":
		whole := event(user, score)
		h.tell(append(whole[:len(whole)/2:len(whole)/2], "\n\n"...), "")
	default:
		h.tell(event(user, score), lie)
	}
	switch lie {
	case "shown-twice":
		h.tell(event(user, score), "")
	case "invented-event":
		h.tell(event(change.Another.User, change.Another.Score+1), "")
	}
	for _, earlier := range h.held[user] {
		h.tell(earlier, "")
	}
	delete(h.held, user)
}

func (h *Hub) tell(event []byte, lie string) {
	if h.plan.Stands("late-events") {
		h.late <- lateEvent{time.Now().Add(late), event, lie}
		return
	}
	h.send(event, lie)
}

func (h *Hub) send(event []byte, lie string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for place, listener := range h.listeners {
		times := 1
		if place == 0 {
			switch {
			case lie == "one-listener-misses" || h.plan.Stands("silent-listener"):
				times = 0
			case lie == "one-listener-twice":
				times = 2
			}
		}
		for range times {
			if !listener.add(event) {
				h.leave(listener)
			}
		}
	}
}
