"use strict";
(function () {
  var tip = document.getElementById("tip"), data = {};
  function dataOf(model) {
    if (!data[model]) data[model] = JSON.parse(document.getElementById(model + "-data").textContent);
    return data[model];
  }
  function line(tag, words, title) {
    var element = document.createElement(tag);
    element.textContent = words;
    if (title) element.dataset.title = title;
    tip.appendChild(element);
  }
  function plotsOf(model) {
    return document.querySelectorAll('.plot[data-model="' + model + '"]');
  }
  function hide(model) {
    tip.hidden = true;
    plotsOf(model).forEach(function (plot) { plot.querySelector(".cross").setAttribute("visibility", "hidden"); });
  }
  function show(model, index, x, y) {
    var found = dataOf(model), layer = found.layers[index];
    if (!layer) return;
    tip.textContent = "";
    line("b", layer[0]);
    line("i", layer[1] + (layer[2] ? " \u00b7 " + layer[2] : ""));
    found.titles.forEach(function (title, at) { if (layer[3 + at]) line("span", layer[3 + at], title); });
    plotsOf(model).forEach(function (plot) {
      var cross = plot.querySelector(".cross");
      cross.setAttribute("d", "M" + (index + 0.5) + " 0V100");
      cross.setAttribute("visibility", "visible");
    });
    tip.hidden = false;
    var box = tip.getBoundingClientRect(), left = x + 16;
    if (left + box.width > document.documentElement.clientWidth - 8) left = x - box.width - 16;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = Math.max(8, Math.min(y + 12, document.documentElement.clientHeight - box.height - 8)) + "px";
  }
  document.querySelectorAll(".plot[data-model]").forEach(function (plot) {
    var model = plot.dataset.model, area = plot.querySelector(".area"), at = 0;
    function count() { return dataOf(model).layers.length; }
    function point(event) {
      var box = area.getBoundingClientRect();
      at = Math.max(0, Math.min(count() - 1, Math.floor((event.clientX - box.left) / box.width * count())));
      show(model, at, event.clientX, event.clientY);
    }
    area.addEventListener("pointermove", point);
    area.addEventListener("pointerdown", point);
    area.addEventListener("pointerleave", function () { hide(model); });
    area.addEventListener("blur", function () { hide(model); });
    area.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -count(), End: count() }[event.key];
      if (event.key === "Escape") hide(model);
      if (!step) return;
      event.preventDefault();
      at = Math.max(0, Math.min(count() - 1, at + step));
      var box = area.getBoundingClientRect();
      show(model, at, box.left + (at + 0.5) / count() * box.width, box.top + 20);
    });
  });
}());
