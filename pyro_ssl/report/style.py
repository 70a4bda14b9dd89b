"""The style sheet of a report."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --text: #1d2530; --soft: #556070; --line: #d8dde4; --box: #f4f6f9;
  --bar: #0072b2; --blue: 0 114 178; --red: 176 74 0; --link: #00588a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181e; --text: #e3e7ec; --soft: #a3adba; --line: #38414d; --box: #1e242c;
    --bar: #56b4e9; --blue: 0 114 178; --red: 190 84 10; --link: #8cc9f0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem;
  background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; }
p { margin: .5rem 0; max-width: 44rem; }
a { color: var(--link); }
section { margin-top: 2.5rem; }
.lead { font-size: 1.15rem; }
.note, figcaption, caption { color: var(--soft); font-size: .9rem; }
nav ul, .legend { list-style: none; margin: 1rem 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .3rem 1.1rem; font-size: .95rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem;
  margin: 1rem 0; }
.facts div { background: var(--box); border-radius: .4rem; padding: .6rem .8rem; }
.facts dt { color: var(--soft); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
.facts small { display: block; font-size: .85rem; font-weight: 400; color: var(--soft); }
.wide { overflow-x: auto; max-width: 100%; margin: 1rem 0; }
.wide:focus-visible { outline: 2px solid var(--bar); }
table { border-collapse: collapse; font-size: .92rem; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .3rem .7rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th { vertical-align: bottom; }
th { font-weight: 600; }
tbody th { font-weight: 500; }
tbody th > span { display: inline-block; max-width: 15rem; overflow-wrap: break-word; }
td { max-width: 24rem; overflow-wrap: break-word; }
.columns td:last-child { min-width: 12rem; }
.settings td:nth-child(2) { min-width: 10rem; overflow-wrap: anywhere;
  font-family: ui-monospace, monospace; }
.track { display: block; width: 6.5rem; height: .35rem; margin-top: .15rem; background: var(--line);
  border-radius: .2rem; }
.bar { display: block; height: 100%; background: var(--bar); border-radius: .2rem; }
.matrix { border-collapse: separate; border-spacing: 1px; font-size: .85rem; }
.matrix th, .matrix td { border: 0; padding: .15rem .3rem; }
.matrix th.upwards span { display: block; writing-mode: vertical-rl; transform: rotate(180deg);
  max-height: 9rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix caption { white-space: nowrap; }
.matrix thead th { padding: .2rem .1rem; text-align: center; }
.matrix thead th:first-child { text-align: left; }
.matrix thead .sum { padding-left: .6rem; text-align: right; }
.matrix tbody th { position: sticky; left: 0; background: var(--page); max-width: 14rem;
  min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix td { text-align: center; vertical-align: middle; min-width: 1.8rem; height: 1.7rem;
  background: rgb(var(--red) / calc(var(--share, 0) * .9)); }
.matrix td.right { background: rgb(var(--blue) / var(--share, 0)); outline: 1px solid var(--soft);
  outline-offset: -1px; }
.matrix td.dark { color: #fff; }
.matrix td.none { color: var(--soft); }
.matrix .sum { text-align: right; background: none; padding-left: .6rem; }
figure { margin: 1rem 0; max-width: 36rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff;
  border-radius: .3rem; }
figcaption { margin-top: .3rem; }
.legend li { display: flex; align-items: center; gap: .35rem; max-width: 18rem; }
.legend svg { flex: none; }
li { max-width: 44rem; margin-bottom: .3rem; }
@media (max-width: 40rem) {
  .matrix tbody th { max-width: 6.5rem; }
  .track { width: 4rem; }
}
"""
