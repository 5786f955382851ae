package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Message is the content of every accepted answer.
const Message = "Score update request submitted"

const incrementMax = 1_000_000

// Settings is what the environment says. RateLimit is per user and second; 0 is none.
type Settings struct {
	Secret    string
	Port      int
	Users     int
	RateLimit int
	Plan      *Plan
}

// SettingsFromEnvironment reads them; an error names what is wrong.
func SettingsFromEnvironment() (Settings, error) {
	settings := Settings{Secret: os.Getenv("JWT_SECRET"), Port: 3000, Users: 1000}
	if settings.Secret == "" {
		return settings, fmt.Errorf("JWT_SECRET is not set")
	}
	every := 20
	for name, value := range map[string]*int{
		"PORT": &settings.Port, "USERS": &settings.Users, "RATE_LIMIT": &settings.RateLimit,
		"LIE_EVERY": &every,
	} {
		if text := os.Getenv(name); text != "" {
			number, err := strconv.Atoi(text)
			if err != nil {
				return settings, fmt.Errorf("%s is not a number: %s", name, text)
			}
			*value = number
		}
	}
	plan, err := NewPlan(os.Getenv("LIE"), every)
	settings.Plan = plan
	return settings, err
}

// Name is the name of a seeded user.
func Name(id int) string {
	switch id {
	case 1:
		return "Alice"
	case 2:
		return "Bob"
	}
	return fmt.Sprintf("User%05d", id)
}

// Another is the user whom lies name instead.
func Another(id int) int {
	if id > 1 {
		return id - 1
	}
	return 2
}

// Checker checks submissions: token, body, rate.
type Checker struct {
	settings Settings
	mutex    sync.Mutex
	second   int64
	used     map[int]int
}

// NewChecker makes one.
func NewChecker(settings Settings) *Checker {
	return &Checker{settings: settings}
}

// Submission is the body of POST /scores/update.
type Submission struct {
	UserID    *int `json:"userId"`
	Increment *int `json:"increment"`
}

// Check is the user and increment of a submission, or the status and text that refuse it.
func (c *Checker) Check(authorization string, body []byte) (user, increment, status int, text string) {
	subject, valid := c.subject(strings.TrimPrefix(authorization, "Bearer "))
	if !valid {
		return 0, 0, 401, "invalid token"
	}
	var found Submission
	if json.Unmarshal(body, &found) != nil || found.UserID == nil || found.Increment == nil {
		return 0, 0, 400, "userId and increment must be integers"
	}
	user, increment = *found.UserID, *found.Increment
	switch {
	case subject != strconv.Itoa(user):
		return 0, 0, 403, "not your score"
	case increment == 0 || max(increment, -increment) > incrementMax:
		return 0, 0, 400, "increment out of range"
	case c.exceedsRate(user):
		return 0, 0, 429, "too many updates"
	}
	return user, increment, 0, ""
}

// subject is whom a valid HS256 token speaks for.
func (c *Checker) subject(token string) (string, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", false
	}
	var header struct{ Alg string }
	var claims struct {
		Sub string
		Exp float64
	}
	for place, into := range []any{&header, &claims} {
		decoded, err := base64.RawURLEncoding.DecodeString(parts[place])
		if err != nil || json.Unmarshal(decoded, into) != nil {
			return "", false
		}
	}
	given, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || header.Alg != "HS256" {
		return "", false
	}
	mac := hmac.New(sha256.New, []byte(c.settings.Secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	current := claims.Exp > float64(time.Now().Unix())
	return claims.Sub, hmac.Equal(given, mac.Sum(nil)) && current
}

func (c *Checker) exceedsRate(user int) bool {
	if c.settings.RateLimit == 0 {
		return false
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if now := time.Now().Unix(); now != c.second || c.used == nil {
		c.second, c.used = now, map[int]int{}
	}
	c.used[user]++
	return c.used[user] > c.settings.RateLimit
}
