/** Runs before the first paint: takes the theme that was chosen, and has the chat loaded once something is seen. */

{
  const { documentElement: root } = document;
  try {
    const { theme } = JSON.parse(localStorage.getItem("threadchat.settings") ?? "{}");
    root.dataset.theme = theme ?? "system";
  } catch {
    root.dataset.theme = "system"; // storage is forbidden
  }
  const source = new URL("app.js", document.currentScript.src);
  const load = () => import(source);
  // A page that is not in sight is never painted.
  document.hidden ? load() : requestAnimationFrame(() => setTimeout(load));
}
