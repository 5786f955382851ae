// Shows lines of the board in the table; moved lines glide to their new place (FLIP: measure,
// change, measure again, animate the difference). Knows nothing of where lines come from.

import { keyOf } from "./board.js";
import { format, nameOf, signed } from "./words.js";

const MOVE_MS = 450;
const MARK_MS = 2500;
const COUNT_MS = 400;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** A colour and letters for a name, the same each time. */
export function badgeOf(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  const words = name.trim().split(/\s+/u);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return { hue: hash % 360, letters: letters.map((word) => [...word][0] ?? "?").join("") };
}

/** Each row's rank: one more than the number of rows with a higher score. */
export function ranksOf(rows) {
  return rows.map(({ score }) => 1 + rows.findIndex((row) => row.score === score));
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

class Line {
  constructor(user, userId) {
    const shown = nameOf({ user, userId });
    const { hue, letters } = badgeOf(user);
    this.user = user;
    this.score = null;
    this.rank = null;
    this.counting = 0;
    this.marking = 0;
    this.rankText = element("span", "rank-number");
    this.move = element("span", "move");
    this.move.setAttribute("aria-hidden", "true");
    const badge = element("span", "badge", letters.toLocaleUpperCase("en"));
    badge.setAttribute("aria-hidden", "true");
    badge.style.setProperty("--hue", hue);
    const name = element("span", "name", shown);
    name.dir = "auto";
    name.title = shown;
    // A long name is cut; on a screen without a pointer there is no title to hover for.
    name.addEventListener("click", () => name.classList.toggle("whole"));
    this.scoreText = element("span", "score-number");
    this.delta = element("span", "delta");
    this.delta.setAttribute("aria-hidden", "true");
    this.bar = element("span", "bar-fill");
    this.bar.setAttribute("aria-hidden", "true");

    const rank = element("td", "rank", this.rankText, this.move);
    const player = element("th", "player", badge, name, this.bar);
    player.scope = "row";
    const score = element("td", "score end", this.delta, this.scoreText);
    rank.setAttribute("role", "cell");
    player.setAttribute("role", "rowheader");
    score.setAttribute("role", "cell");
    this.row = element("tr", "line", rank, player, score);
    this.row.setAttribute("role", "row");
    this.row.dataset.user = user;
  }

  show(rank, score, share, animate) {
    const moved = this.rank === null ? 0 : this.rank - rank;
    const gained = this.score === null ? 0 : score - this.score;
    const from = this.score;
    this.rank = rank;
    this.score = score;
    this.rankText.textContent = rank;
    this.row.dataset.rank = rank;
    this.bar.style.setProperty("--share", share);
    this.scoreText.classList.toggle("long", format(score).length > 12);
    this._count(from, score, animate);
    if (animate && (moved || gained)) this._mark(moved, gained);
  }

  _mark(moved, gained) {
    if (moved) {
      this.move.textContent = moved > 0 ? `▲${moved}` : `▼${-moved}`;
      this.move.dataset.way = moved > 0 ? "up" : "down";
    }
    if (gained) {
      this.delta.textContent = signed(gained);
      this.delta.dataset.way = gained > 0 ? "up" : "down";
      if (!calm.matches) {
        this.row.animate({ "--flash": [gained > 0 ? "var(--up-soft)" : "var(--down-soft)", "transparent"] }, 900);
        this.delta.animate({ transform: ["translateY(6px)", "none"], opacity: [0, 1] }, 250);
      }
    }
    clearTimeout(this.marking);
    this.marking = setTimeout(() => {
      this.move.textContent = "";
      this.delta.textContent = "";
    }, MARK_MS);
  }

  _count(from, to, animate) {
    cancelAnimationFrame(this.counting);
    if (!animate || from === null || calm.matches) {
      this.scoreText.textContent = format(to);
      return;
    }
    const began = performance.now();
    const step = (now) => {
      // A frame may have begun before the change: its time is then the earlier one.
      const done = Math.min(1, Math.max(0, (now - began) / COUNT_MS));
      const eased = 1 - (1 - done) ** 3;
      this.scoreText.textContent = format(Math.round(from + (to - from) * eased));
      if (done < 1) this.counting = requestAnimationFrame(step);
    };
    this.counting = requestAnimationFrame(step);
  }
}

export class BoardView {
  constructor(body) {
    this.body = body;
    this.lines = new Map();
  }

  /** Show these lines, best first; `animate` is false for a state that is new as a whole. */
  show(rows, animate) {
    const glide = animate && !calm.matches && !document.hidden;
    const before = new Map();
    if (glide) {
      for (const [key, line] of this.lines) before.set(key, line.row.getBoundingClientRect().top);
    }
    const wanted = new Set(rows.map(keyOf));
    for (const [key, line] of this.lines) {
      // A renamed user gets a new line.
      const renamed = rows.some((row) => keyOf(row) === key && row.user !== line.user);
      if (wanted.has(key) && !renamed) continue;
      line.row.remove();
      this.lines.delete(key);
    }
    // Bars compare with the leader; a board at or below zero has none.
    const highest = Math.max(0, ...rows.map((row) => row.score));
    // Equal scores share a rank, as in the API.
    const ranks = ranksOf(rows);
    rows.forEach(({ user, score, userId }, index) => {
      const key = keyOf({ user, userId });
      let line = this.lines.get(key);
      const entering = !line;
      if (entering) {
        line = new Line(user, userId);
        this.lines.set(key, line);
      }
      const share = highest > 0 ? Math.max(0, score) / highest : 0;
      line.show(ranks[index], score, share.toFixed(4), animate && !entering);
      if (this.body.children[index] !== line.row) {
        this.body.insertBefore(line.row, this.body.children[index] ?? null);
      }
    });
    if (glide) this._glide(before);
  }

  _glide(before) {
    const moves = [];
    for (const [key, line] of this.lines) {
      for (const running of line.row.getAnimations()) if (running.id === "glide") running.cancel();
      moves.push([line, before.get(key), line.row.getBoundingClientRect().top]);
    }
    for (const [line, from, to] of moves) {
      if (from === to) continue;
      const frames = from === undefined
        ? { opacity: [0, 1], transform: ["translateY(24px)", "none"] }
        : { transform: [`translateY(${from - to}px)`, "none"] };
      line.row.animate(frames, { id: "glide", duration: MOVE_MS, easing: "cubic-bezier(.2,.8,.2,1)" });
    }
  }
}
