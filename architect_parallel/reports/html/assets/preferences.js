// Choices that the browser keeps from report to report. A browser without storage forgets them.
export const preferences = {
  read(name) { try { return localStorage.getItem("architect-" + name); } catch { return null; } },
  write(name, value) { try { localStorage.setItem("architect-" + name, value); } catch { /* no storage */ } },
};
