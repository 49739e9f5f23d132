// Stores the browser's time zone in a cookie. The server shows the admin's timestamps in this zone.
"use strict";
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const cookie = `time_zone=${encodeURIComponent(zone ?? "")}`;
  if (!zone || document.cookie.split("; ").includes(cookie)) return;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${cookie}; path=/admin/; max-age=31536000; samesite=lax${secure}`;
})();
