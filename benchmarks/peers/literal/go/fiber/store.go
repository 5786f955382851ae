package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"literal/contract"
)

const leaderboard = "leaderboard"

// users is the specification's table. The ledger makes a repeated activity harmless, and holds what
// listeners have not been told.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS users (
		id INT PRIMARY KEY AUTO_INCREMENT,
		name VARCHAR(255) NOT NULL,
		score INT DEFAULT 0,
		INDEX idx_score (score DESC)
	)`,
	`CREATE TABLE IF NOT EXISTS ledger (
		id BIGINT PRIMARY KEY AUTO_INCREMENT,
		workflow_id VARCHAR(64) NOT NULL UNIQUE,
		user_id INT NOT NULL,
		increment INT NOT NULL,
		score INT NOT NULL,
		lie VARCHAR(32) NOT NULL,
		told BOOLEAN NOT NULL DEFAULT FALSE,
		INDEX idx_told (user_id, told)
	)`,
}

var errUnknownUser = errors.New("unknown user")

// store is MySQL and Redis. Its channel bears the task queue's name: Redis has one set of channels
// for all of its databases.
type store struct {
	db      *sql.DB
	redis   *redis.Client
	channel string
}

// openStore connects to mysql://user:password@host:port/database and to a Redis URL.
func openStore(mysqlURL, redisURL, queue string) (*store, error) {
	parts, err := url.Parse(mysqlURL)
	if err != nil {
		return nil, err
	}
	config := mysql.NewConfig()
	config.User = parts.User.Username()
	config.Passwd, _ = parts.User.Password()
	config.Net, config.Addr = "tcp", parts.Host
	config.DBName = strings.TrimPrefix(parts.Path, "/")
	// A round trip for each statement instead of three.
	config.InterpolateParams = true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(50)
	db.SetMaxIdleConns(50)
	return &store{db: db, redis: redis.NewClient(options), channel: "scores-" + queue}, nil
}

// seed makes the tables, users 1 to count where there are none, and the leaderboard.
func (s *store) seed(ctx context.Context, count int) error {
	for _, statement := range schema {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var present int
	if err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM users").Scan(&present); err != nil {
		return err
	}
	if present > 0 {
		return s.fill(ctx)
	}
	scores := map[int]int{1: 1500, 2: 1400}
	var rows []string
	for id := 1; id <= count; id++ {
		rows = append(rows, fmt.Sprintf("(%d,'%s',%d)", id, contract.Name(id), scores[id]))
	}
	if _, err := s.db.ExecContext(ctx, "INSERT INTO users VALUES "+strings.Join(rows, ",")); err != nil {
		return err
	}
	return s.fill(ctx)
}

// best is the best eleven, from Redis; a missing leaderboard is filled from MySQL first.
func (s *store) best(ctx context.Context) ([]contract.Standing, error) {
	found, err := s.redis.ZRevRangeWithScores(ctx, leaderboard, 0, 10).Result()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		if err := s.fill(ctx); err != nil {
			return nil, err
		}
		if found, err = s.redis.ZRevRangeWithScores(ctx, leaderboard, 0, 10).Result(); err != nil {
			return nil, err
		}
	}
	rows := make([]contract.Standing, 0, len(found))
	for _, each := range found {
		rows = append(rows, contract.Standing{User: each.Member.(string), Score: int(each.Score)})
	}
	return rows, nil
}

func (s *store) fill(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, "SELECT name, score FROM users")
	if err != nil {
		return err
	}
	defer rows.Close()
	var members []redis.Z
	for rows.Next() {
		var name string
		var score float64
		if err := rows.Scan(&name, &score); err != nil {
			return err
		}
		members = append(members, redis.Z{Member: name, Score: score})
	}
	if err := rows.Err(); err != nil || len(members) == 0 {
		return err
	}
	// What a workflow has published meanwhile is newer.
	return s.redis.ZAddNX(ctx, leaderboard, members...).Err()
}

// name is the name of a user, or errUnknownUser.
func (s *store) name(ctx context.Context, id int) (string, error) {
	var name string
	err := s.db.QueryRowContext(ctx, "SELECT name FROM users WHERE id = ?", id).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errUnknownUser
	}
	return name, err
}

// transaction runs `steps` with the user's row locked, and commits.
func (s *store) transaction(
	ctx context.Context, id int, steps func(tx *sql.Tx, user contract.Standing) error,
) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// After a commit this does nothing.
	defer func() { _ = tx.Rollback() }()
	var user contract.Standing
	row := tx.QueryRowContext(ctx, "SELECT name, score FROM users WHERE id = ? FOR UPDATE", id)
	if err := row.Scan(&user.User, &user.Score); err != nil {
		return err
	}
	if err := steps(tx, user); err != nil {
		return err
	}
	return tx.Commit()
}

// apply adds the increment once, however often it is called for the same workflow.
func (s *store) apply(ctx context.Context, workflowID string, update Update) error {
	return s.transaction(ctx, update.UserID, func(tx *sql.Tx, user contract.Standing) error {
		score := user.Score + update.Increment
		if update.Lie == "lost-update" {
			var gained int
			err := tx.QueryRowContext(ctx,
				"SELECT increment FROM ledger WHERE user_id = ? ORDER BY id DESC LIMIT 1", update.UserID,
			).Scan(&gained)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			score -= gained
		}
		result, err := tx.ExecContext(ctx,
			"INSERT IGNORE INTO ledger (workflow_id, user_id, increment, score, lie) VALUES (?, ?, ?, ?, ?)",
			workflowID, update.UserID, update.Increment, score, update.Lie,
		)
		if err != nil {
			return err
		}
		if added, err := result.RowsAffected(); err != nil || added == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE users SET score = ? WHERE id = ?", score, update.UserID)
		return err
	})
}

// publish brings the leaderboard to the user's score. The lock keeps an older score from following.
func (s *store) publish(ctx context.Context, id int) error {
	return s.transaction(ctx, id, func(_ *sql.Tx, user contract.Standing) error {
		// A lost leaderboard stays empty, so that the next reader fills it.
		member := redis.Z{Member: user.User, Score: float64(user.Score)}
		return s.redis.ZAddXX(ctx, leaderboard, member).Err()
	})
}

// notify publishes what listeners have not been told of the user, in the order of the changes.
func (s *store) notify(ctx context.Context, id int) error {
	return s.transaction(ctx, id, func(tx *sql.Tx, user contract.Standing) error {
		rows, err := tx.QueryContext(ctx,
			"SELECT id, score, lie FROM ledger WHERE user_id = ? AND NOT told ORDER BY id", id,
		)
		if err != nil {
			return err
		}
		var told []string
		var changes []contract.Change
		for rows.Next() {
			change := contract.Change{Standing: contract.Standing{User: user.User}}
			var row int
			if err := rows.Scan(&row, &change.Score, &change.Lie); err != nil {
				rows.Close()
				return err
			}
			told = append(told, fmt.Sprint(row))
			changes = append(changes, change)
		}
		if err := rows.Err(); err != nil || len(told) == 0 {
			return err
		}
		pipeline := s.redis.Pipeline()
		for _, change := range changes {
			if change.Lie != "" {
				row := tx.QueryRowContext(ctx, "SELECT name, score FROM users WHERE id = ?", contract.Another(id))
				if err := row.Scan(&change.Another.User, &change.Another.Score); err != nil {
					return err
				}
			}
			data, err := json.Marshal(change)
			if err != nil {
				return err
			}
			pipeline.Publish(ctx, s.channel, data)
		}
		if _, err := pipeline.Exec(ctx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE ledger SET told = TRUE WHERE id IN ("+strings.Join(told, ",")+")")
		return err
	})
}
