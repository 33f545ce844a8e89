// Films play while they are in sight, silently; whoever pauses one keeps it paused.
(() => {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (calm || !("IntersectionObserver" in window)) return;
  const stopped = new WeakSet();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) {
        target.dataset.away = "1";
        target.pause();
      } else {
        delete target.dataset.away;
        if (!stopped.has(target)) target.play().catch(() => {});
      }
    }
  }, { threshold: 0.3 });
  for (const video of document.querySelectorAll("video")) {
    video.addEventListener("pause", () => { if (!video.dataset.away) stopped.add(video); });
    video.addEventListener("play", () => stopped.delete(video));
    observer.observe(video);
  }
})();
