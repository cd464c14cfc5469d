// One transport per example: all of its sounds run together and one is heard, so that a switch keeps the position.
// Without Web Audio each sound keeps its own player.
function transport(group) {
  const figures = [...group.querySelectorAll("figure")].filter((figure) => figure.querySelector("audio"));
  if (!figures.length) return;
  const labels = figures.map((figure) => figure.querySelector("figcaption").firstChild.textContent.replace(/, [\d.]+ s$/, ""));
  const notes = figures.map((figure) => figure.querySelector(".note")?.textContent ?? "");
  const sampleRate = Number(figures[0].querySelector("audio").dataset.rate);
  const reference = labels.findIndex((label) => label.startsWith("reference"));
  const estimates = labels.map((label) => label.startsWith("estimate"));
  const plain = "plain" in group.dataset; // sounds alone: no pictures, and nothing that tells one from another
  const state = { chosen: 0, at: 0, began: 0, playing: false, region: null, order: labels.map((_, k) => k), blind: false };
  let context = null, loading = null, sounds = [], errors = [], levels = [], gains = [], sources = [];

  const make = (name, properties, ...inside) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...inside);
    return element;
  };
  const tick = (text, help) => {
    const box = make("input", { type: "checkbox" });
    bar.append(make("label", { title: help }, box, ` ${text}`));
    return box;
  };
  const bar = make("div", { className: "transport" });
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Player of all sounds of this example");
  const go = make("button", { type: "button", textContent: "Play" });
  const seek = make("input", { type: "range", min: 0, max: 1, step: "any", value: 0 });
  seek.setAttribute("aria-label", "Position in seconds");
  const clock = make("output", { textContent: "0.0 s" });
  bar.append(go, seek, clock);
  const buttons = labels.map((_, k) => make("button", { type: "button" }));
  const told = labels.map(() => make("small"));
  const choices = make("div", { className: "choices" }, ...buttons.map((button, k) => make("span", {}, button, told[k])));
  const loop = tick("loop", plain ? "Repeat" : "Repeat; drag over a spectrogram to repeat a part of it");
  const level = tick("equal loudness", "Every sound at the RMS of the quietest that sounds; gains are shown");
  const error = tick("error", "In place of an estimate, what it differs by from the reference");
  const blind = tick("blind", "Shuffled and without names, until it is switched off");
  const help = `Keys 1 to 9 switch, p plays.${plain ? "" : " Drag over a spectrogram to repeat a part; Escape ends that."}`;
  bar.append(choices, make("span", { className: "meta", textContent: help }));
  group.before(bar);
  if (reference < 0 || !estimates.includes(true)) error.parentElement.remove();
  if (plain) for (const box of [level, blind]) box.parentElement.remove();

  const shots = plain ? [] : figures.map((figure) => {
    const image = figure.querySelector("img"), head = make("div", { className: "head" }), part = make("div", { className: "part" });
    const shot = make("div", { className: "shot" });
    image.replaceWith(shot);
    image.draggable = false;
    shot.append(image, part, head);
    return { shot, head, part };
  });

  const decode = (uri) => {
    const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    return context.decodeAudioData(bytes.buffer);
  };
  const difference = (a, b) => {
    const out = context.createBuffer(a.numberOfChannels, a.length, a.sampleRate);
    for (let channel = 0; channel < a.numberOfChannels; channel++) {
      const x = a.getChannelData(channel), y = b.getChannelData(channel);
      out.getChannelData(channel).forEach((_, k, all) => { all[k] = x[k] - (y[k] ?? 0); });
    }
    return out;
  };
  const rms = (sound) => {
    let sum = 0;
    for (let channel = 0; channel < sound.numberOfChannels; channel++)
      for (const value of sound.getChannelData(channel)) sum += value * value;
    return Math.sqrt(sum / (sound.length * sound.numberOfChannels));
  };
  const load = () => loading ??= (async () => {
    context = new AudioContext({ sampleRate });
    sounds = await Promise.all(figures.map((figure) => decode(figure.querySelector("audio").src)));
    errors = sounds.map((sound, k) => estimates[k] && reference >= 0 ? difference(sound, sounds[reference]) : sound);
    levels = [sounds.map(rms), errors.map(rms)];
    seek.max = length();
    show();
  })();
  const length = () => Math.max(0, ...sounds.map((sound) => sound.duration));
  const span = () => state.region ?? [0, length()];
  const position = () => {
    if (!state.playing) return state.at;
    const now = Math.max(state.at, context.currentTime - state.began), [first, last] = span();
    return loop.checked && now >= last ? first + (now - first) % (last - first) : now;
  };
  // What each sound is turned by: to the quietest one that sounds at all, so that nothing is turned up.
  const turned = () => {
    const each = levels[Number(error.checked)], heard = each.filter((one) => one > 1e-4);
    return each.map((one) => level.checked && one > 1e-4 ? Math.min(...heard) / one : 1);
  };
  const silence = () => {
    for (const source of sources) { source.onended = null; source.stop(); }
    sources = [];
  };
  const start = (at) => {
    silence();
    const when = context.currentTime + 0.02, [first, last] = span();
    gains = sounds.map(() => context.createGain());
    sources = (error.checked ? errors : sounds).map((buffer, k) => {
      const source = Object.assign(context.createBufferSource(), { buffer, loop: loop.checked, loopStart: first, loopEnd: last });
      source.connect(gains[k]).connect(context.destination);
      gains[k].gain.value = 0;
      source.start(when, at);
      return source;
    });
    sources[0].onended = () => { if (!loop.checked) { state.playing = false; state.at = 0; show(); } };
    Object.assign(state, { at, began: when - at, playing: true });
    choose(state.chosen);
  };
  const choose = (k) => {
    state.chosen = k;
    const by = sounds.length ? turned() : [];
    gains.forEach((gain, sound) => gain.gain.setTargetAtTime(sound === k ? by[sound] : 0, context.currentTime, 0.003));
    show();
  };
  const stop = () => {
    state.at = position();
    state.playing = false;
    silence();
    show();
  };
  const move = (at) => {
    state.at = Math.min(Math.max(at, 0), length());
    if (state.playing) start(state.at); else show();
  };
  const play = async () => {
    await load();
    for (const other of document.querySelectorAll(".players")) if (other !== group) other.transport?.stop();
    await context.resume();
    const [first, last] = span();
    start(state.at >= last - 0.01 || state.at < first ? first : state.at);
    draw();
  };
  const again = () => { if (state.playing) { const at = position(); start(at); } else show(); };
  const show = () => {
    const by = sounds.length ? turned() : [];
    go.textContent = state.playing ? "Pause" : "Play";
    buttons.forEach((button, place) => {
      const sound = state.order[place], name = state.blind ? String.fromCharCode(65 + place) : labels[sound];
      const gain = level.checked && by.length && !state.blind ? ` ${(20 * Math.log10(by[sound])).toFixed(1)} dB` : "";
      button.textContent = `${place + 1} ${name}${gain.replace("-", "\u2212")}`;
      button.setAttribute("aria-pressed", String(sound === state.chosen));
      told[place].textContent = state.blind ? "" : notes[sound];
    });
    figures.forEach((figure, k) => figure.classList.toggle("heard", k === state.chosen && !state.blind));
    group.classList.toggle("hidden", state.blind);
    const at = position(), all = length() || 1, [first, last] = state.region ?? [0, 0];
    seek.value = at;
    clock.textContent = `${at.toFixed(1)} s`;
    for (const { head, part } of shots) {
      head.style.left = `${100 * at / all}%`;
      part.style.left = `${100 * first / all}%`;
      part.style.width = `${100 * (last - first) / all}%`;
    }
  };
  const draw = () => {
    show();
    if (state.playing) requestAnimationFrame(draw);
  };

  go.addEventListener("click", () => state.playing ? stop() : play());
  seek.addEventListener("input", () => { const at = Number(seek.value); load().then(() => move(at)); });
  buttons.forEach((button, place) => button.addEventListener("click", () => choose(state.order[place])));
  for (const box of [loop, error]) box.addEventListener("change", () => load().then(again));
  level.addEventListener("change", () => load().then(() => choose(state.chosen)));
  blind.addEventListener("change", () => {
    state.blind = blind.checked;
    state.order = labels.map((_, k) => k);
    if (state.blind) for (let k = labels.length - 1; k > 0; k--) {
      const other = Math.floor(Math.random() * (k + 1));
      [state.order[k], state.order[other]] = [state.order[other], state.order[k]];
    }
    choose(state.order[0]);
  });
  for (const element of [bar, group]) element.addEventListener("keydown", (event) => {
    const place = Number(event.key) - 1;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (place in buttons) choose(state.order[place]);
    else if (event.key === "p") go.click();
    else if (event.key === "Escape") { state.region = null; again(); }
    else return;
    event.preventDefault();
  });
  shots.forEach(({ shot }, k) => {
    const place = (event) => {
      const box = shot.getBoundingClientRect();
      return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * length();
    };
    shot.addEventListener("pointerdown", async (event) => {
      shot.setPointerCapture(event.pointerId);
      await load();
      const from = place(event);
      shot.onpointermove = (moved) => {
        const to = place(moved);
        state.region = Math.abs(to - from) > 0.05 ? [Math.min(from, to), Math.max(from, to)] : null;
        show();
      };
      shot.onpointerup = () => {
        shot.onpointermove = shot.onpointerup = null;
        if (state.region) loop.checked = true;
        choose(k);
        move(state.region ? state.region[0] : from);
      };
    });
  });
  group.tabIndex = 0;
  group.classList.add("together");
  group.transport = { play, stop, choose, close: () => context?.close(), move, position, load, state, turned,
    sounds: () => sounds, gains: () => gains.map((gain) => gain.gain.value) };
  show();
}
if (window.AudioContext) document.querySelectorAll(".players").forEach(transport);
