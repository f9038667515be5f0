/** Decides when the page is drawn: once a frame at most, and seldom enough that the keyboard gets its turn. */

const SHARE = 3; // times as long as a drawing takes, the next one waits
const LONGEST = 250; // ms that it waits at most
const HIDDEN = 50; // ms between two drawings of a page that is not in sight, whose title still counts

export class Screen {
  #draw;
  #asked = false;
  #notBefore = 0;

  constructor(draw) {
    this.#draw = draw;
  }

  ask() {
    if (this.#asked) {
      return;
    }
    this.#asked = true;
    const wait = this.#notBefore - performance.now();
    if (document.hidden) {
      setTimeout(() => this.#run(), HIDDEN); // a hidden page gets no animation frames
    } else if (wait > 1) {
      setTimeout(() => requestAnimationFrame(() => this.#run()), wait);
    } else {
      requestAnimationFrame(() => this.#run());
    }
  }

  #run() {
    this.#asked = false;
    const begun = performance.now();
    this.#draw();
    const done = performance.now();
    this.#notBefore = done + Math.min(LONGEST, (done - begun) * SHARE);
  }
}
