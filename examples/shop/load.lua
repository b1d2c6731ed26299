-- The load of the demo: mostly products, some searches, some orders, a few requests for what there is not.
--   wrk -t1 -c8 -d6s -s load.lua http://127.0.0.1:PORT
local words = { "kettle", "lamp", "chair", "mirror", "shelf", "clock", "rug", "vase" }

function init(args)
	math.randomseed(os.time())
end

function request()
	local x = math.random(100)
	if x <= 70 then
		return wrk.format("GET", "/product/" .. math.random(1000))
	elseif x <= 85 then
		return wrk.format("GET", "/products?q=" .. words[math.random(#words)])
	elseif x <= 97 then
		return wrk.format("POST", "/order?product=" .. math.random(1000) .. "&count=" .. math.random(5))
	elseif x <= 98 then
		return wrk.format("POST", "/order?product=1&count=1000000")
	else
		return wrk.format("GET", "/product/9999")
	end
end
